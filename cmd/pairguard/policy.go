package main

import (
	"errors"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/pairguard/pairguard/cmd/pairguard/file"
	"github.com/pairguard/pairguard/internal/control"
)

// policyFlags say how a program is kept running. They have the names that they have in
// the file.
type policyFlags struct {
	restart, stopSignal                string
	backoff, backoffMax, stable, grace time.Duration
}

func (p *policyFlags) add(f *pflag.FlagSet) {
	d := control.Default()
	f.StringVar(&p.restart, "restart", d.Restart, "when it is started again: always, on-failure or no")
	f.DurationVar(&p.backoff, "backoff", time.Duration(d.Backoff), "delay before the second restart in a row, then doubled; 0: always at once")
	f.DurationVar(&p.backoffMax, "backoff-max", time.Duration(d.BackoffMax), "the longest delay")
	f.DurationVar(&p.stable, "stable", time.Duration(d.Stable), "a program that lived this long has its past ends forgiven")
	f.DurationVar(&p.grace, "grace", time.Duration(d.Grace), "how long it has to end when it is stopped, before it is killed")
	f.StringVar(&p.stopSignal, "stop-signal", d.StopSignal, "the signal that asks it to end")
}

// put makes the policy that of d.
func (p *policyFlags) put(f *pflag.FlagSet, d *control.Definition) {
	d.Restart, d.StopSignal = p.restart, file.SignalName(p.stopSignal)
	d.Backoff, d.BackoffMax = control.Duration(p.backoff), control.Duration(p.backoffMax)
	d.Stable, d.Grace = control.Duration(p.stable), control.Duration(p.grace)
	if !f.Changed("backoff-max") {
		d.BackoffMax = max(d.BackoffMax, d.Backoff)
	}
}

// flagError makes a usage error of what is wrong with a definition.
func flagError(cmd *cobra.Command, err error) error {
	var field *control.FieldError
	if !errors.As(err, &field) {
		return err
	}
	if cmd.Flags().Lookup(field.Field) != nil {
		return usage(cmd, "--%s: %v", field.Field, field.Err)
	}
	return usage(cmd, "%v", err)
}
