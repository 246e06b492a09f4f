package control

import (
	"errors"
	"fmt"
)

const maxRequestName = 128

func checkNames(names []string) error {
	for _, name := range names {
		if err := CheckName(name); err != nil {
			return err
		}
	}
	return nil
}

func (p *NamesParams) check() error { return checkNames(p.Names) }
func (p *StopParams) check() error  { return checkNames(p.Names) }
func (p *WaitParams) check() error  { return CheckName(p.Name) }
func (p *DownParams) check() error  { return nil }

func (p *UpParams) check() error {
	seen := map[string]bool{}
	logs := map[string]string{}
	for i := range p.Programs {
		d := &p.Programs[i]
		if d.Inherit == nil {
			d.Inherit = p.Inherit
		}
		if err := checkDefinition(d); err != nil {
			return err
		}
		if seen[d.Name] {
			return fmt.Errorf("program %q is there twice", d.Name)
		}
		seen[d.Name] = true
		if other, taken := logs[d.Log.File]; taken && d.Log.File != "" {
			return fmt.Errorf("programs %q and %q have the same log, %s: give each its own", other, d.Name, d.Log.File)
		}
		logs[d.Log.File] = d.Name
	}
	return nil
}

func (p *RunParams) check() error {
	if p.Request == "" || len(p.Request) > maxRequestName {
		return fmt.Errorf("request: must be a text of 1 to %d bytes that no other run has", maxRequestName)
	}
	return checkDefinition(&p.Program)
}

func checkDefinition(d *Definition) error {
	if err := d.Validate(); err != nil {
		if d.checkName() != nil {
			return err
		}
		return fmt.Errorf("program %q: %w", d.Name, err)
	}
	return nil
}

func (p *RestartParams) check() error {
	for _, life := range p.Programs {
		if err := CheckName(life.Name); err != nil {
			return err
		}
	}
	return nil
}

func (p *HoldParams) check() error {
	if p.For <= 0 || p.For > maxDuration {
		return errors.New("for: must be longer than zero, such as 30m")
	}
	return checkNames(p.Names)
}
