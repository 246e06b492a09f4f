package sim

import (
	"encoding/binary"
	"hash/fnv"
	"reflect"
	"slices"
	"time"
)

// fingerprint is a number for everything that decides what can come next. Times
// count as how far they are from now, so that a pair that lives on as before is in
// a state that was seen before; what lies far back counts as far back.
func (w *world) fingerprint(deeds int) uint64 {
	p := printer{now: w.now}
	p.number(int64(deeds))
	for i := range w.procs {
		p.process(&w.procs[i])
	}
	for i := range w.conns {
		if k := &w.conns[i]; k.open[0] || k.open[1] {
			p.number(int64(i))
			p.value(reflect.ValueOf(k).Elem(), "")
		}
	}
	p.value(reflect.ValueOf(&w.folder).Elem(), "")
	p.value(reflect.ValueOf(&w.check).Elem(), "")
	p.value(reflect.ValueOf(&w.stopping).Elem(), "")
	p.items(w, w.queue)
	h := fnv.New64a()
	h.Write(p.bytes)
	return h.Sum64()
}

// farBack is the age from which on an age does not matter any more: the longest
// time that any rule looks back.
const farBack = 11 * time.Second

type printer struct {
	now   time.Duration
	bytes []byte
}

func (p *printer) number(n int64) { p.bytes = binary.AppendVarint(p.bytes, n) }

func (p *printer) time(t time.Duration) {
	switch {
	case t == never:
		p.number(-1 << 60)
	default:
		p.number(int64(max(t-p.now, -farBack)))
	}
}

func (p *printer) process(q *process) {
	p.number(int64(q.state))
	if q.state != dead {
		p.value(reflect.ValueOf(q).Elem(), "")
		p.number(int64(len(q.deferred)))
	}
}

// items hashes the queue as a set of what is to come; of equal times the order of
// entry counts.
func (p *printer) items(w *world, q queue) {
	order := make([]int, 0, len(q))
	for i := range q {
		if q[i].kind != itemTimer || w.procs[q[i].p].timerSeq == q[i].x {
			order = append(order, i)
		}
	}
	slices.SortFunc(order, func(a, b int) int {
		if q.less(a, b) {
			return -1
		}
		return 1
	})
	for _, i := range order {
		p.item(&q[i])
	}
}

func (p *printer) item(it *item) {
	p.time(it.at)
	p.number(int64(it.kind)<<8 | int64(it.side))
	p.number(int64(it.p))
	if it.kind != itemTimer && it.kind != itemCheck {
		p.number(int64(it.x))
	}
	p.value(reflect.ValueOf(it).Elem().FieldByName("event"), "")
	p.value(reflect.ValueOf(it).Elem().FieldByName("line"), "")
}

// left out: settings that never change, and counters that decide nothing.
var leftOut = map[string]bool{
	"cfg": true, "out": true, "policy": true, "random": true, "steps": true, "stepsSince": true, "counts": true, "failure": true,
	"timerSeq": true, "timerAt": true, "survey": true, "reads": true, "serial": true, "count": true, "lane": true, "seq": true,
	"asked": true, "answered": true, "from": true, "Token": true, "expect": true,
}

// spans are durations, not points in time.
var spans = map[string]bool{
	"timeout": true, "confirm": true, "credit": true, "minimum": true, "window": true, "redial": true, "HeldFor": true,
	"Age": true, "Heartbeat": true, "late": true,
}

var durationType = reflect.TypeFor[time.Duration]()

func (p *printer) value(v reflect.Value, name string) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if field := v.Type().Field(i).Name; !leftOut[field] {
				p.value(v.Field(i), field)
			}
		}
	case reflect.Array, reflect.Slice:
		p.number(int64(v.Len()))
		for i := range v.Len() {
			p.value(v.Index(i), name)
		}
	case reflect.Interface:
		if v.IsNil() {
			p.number(0)
			return
		}
		p.bytes = append(p.bytes, v.Elem().Type().Name()...)
		p.value(v.Elem(), name)
	case reflect.String:
		p.bytes = append(p.bytes, v.String()...)
	case reflect.Bool:
		p.bytes = append(p.bytes, byte('f'))
		if v.Bool() {
			p.bytes[len(p.bytes)-1] = 't'
		}
	default:
		p.scalar(v, name)
	}
}

func (p *printer) scalar(v reflect.Value, name string) {
	switch {
	case v.Type() == durationType && !spans[name]:
		p.time(time.Duration(v.Int()))
	case v.CanInt():
		p.number(v.Int())
	case v.CanUint():
		p.number(int64(v.Uint()))
	}
}
