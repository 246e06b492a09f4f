package sim

import (
	"encoding/binary"
	"hash/fnv"
	"reflect"
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
	return p.sum()
}

// farBack is the age from which on ages are not told apart: longer than the timeout
// and the longest backoff. Of a life it counts only whether it was a stable one.
const farBack = 3 * time.Second

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

// items hashes the queue as a set: only within one direction of a connection does
// the order count.
func (p *printer) items(w *world, q queue) {
	var sum uint64
	for i := range q {
		it := &q[i]
		if it.kind == itemTimer && w.procs[it.p].timerSeq != it.x {
			continue // it was replaced by another one
		}
		one := printer{now: p.now}
		one.item(it)
		if it.kind == itemArrive || it.kind == itemEnd {
			one.number(int64(placeInLane(q, it)))
		}
		sum += one.sum()
	}
	p.number(int64(sum))
}

func placeInLane(q queue, it *item) (place int) {
	for i := range q {
		if (q[i].kind == itemArrive || q[i].kind == itemEnd) && q[i].x == it.x && q[i].side == it.side && q[i].seq < it.seq {
			place++
		}
	}
	return place
}

func (p *printer) sum() uint64 {
	h := fnv.New64a()
	h.Write(p.bytes)
	return h.Sum64()
}

func (p *printer) item(it *item) {
	p.time(it.at)
	p.number(int64(it.kind)<<8 | int64(it.side))
	p.number(int64(it.p))
	if it.kind != itemTimer && it.kind != itemCheck && it.kind != itemOperator {
		p.number(int64(it.x))
	}
	if it.event != nil {
		e := reflect.ValueOf(it.event)
		p.bytes = append(p.bytes, e.Type().Name()...)
		p.value(e, "")
	}
	if it.line.message != nil {
		m := reflect.ValueOf(it.line.message)
		p.bytes = append(p.bytes, m.Type().Name()...)
		p.value(m, "")
	}
}

// left out: settings that never change, and counters that decide nothing.
var leftOut = map[string]bool{
	"cfg": true, "out": true, "policy": true, "random": true, "steps": true, "stepsSince": true, "counts": true, "failure": true,
	"timerSeq": true, "timerAt": true, "survey": true, "reads": true, "serial": true, "count": true, "lane": true, "seq": true,
	"now": true, "born": true, "begunAt": true, "lateAt": true, "lateBy": true, "knownTo": true, "stillFrom": true, "diedAt": true, "asked": true, "answered": true, "from": true, "Token": true, "expect": true,
}

// spans are durations, not points in time.
var spans = map[string]bool{
	"timeout": true, "confirm": true, "credit": true, "rested": true, "minimum": true, "window": true, "redial": true, "HeldFor": true,
	"CPU": true, "RunDelay": true, "cpu": true, "Age": true, "Heartbeat": true, "late": true,
}

type countedField struct {
	index int
	name  string
}

// fields remembers which fields of a type count; the search runs in one goroutine.
var fields = map[reflect.Type][]countedField{}

func fieldsOf(t reflect.Type) []countedField {
	counted, known := fields[t]
	if !known {
		for i := range t.NumField() {
			if name := t.Field(i).Name; !leftOut[name] {
				counted = append(counted, countedField{i, name})
			}
		}
		fields[t] = counted
	}
	return counted
}

var durationType = reflect.TypeFor[time.Duration]()

func (p *printer) value(v reflect.Value, name string) {
	switch v.Kind() {
	case reflect.Struct:
		for _, f := range fieldsOf(v.Type()) {
			p.value(v.Field(f.index), f.name)
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
	case name == "since":
		p.number(min(int64(p.now-time.Duration(v.Int()))/int64(stable), 1))
	case v.Type() == durationType && !spans[name]:
		p.time(time.Duration(v.Int()))
	case v.CanInt():
		p.number(v.Int())
	case v.CanUint():
		p.number(int64(v.Uint()))
	}
}
