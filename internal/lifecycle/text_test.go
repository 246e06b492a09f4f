package lifecycle

import (
	"fmt"
	"strings"
)

// actionText is an action in the words of the traces and of docs/programs-states.md.
func actionText(a Action) string {
	switch a := a.(type) {
	case Note:
		return "`" + string(a.Kind) + "`"
	case Signal:
		return "Signal " + a.Name
	}
	return strings.TrimPrefix(fmt.Sprintf("%T", a), "lifecycle.")
}

func actionsText(actions []Action) string {
	var names []string
	for _, a := range actions {
		names = append(names, actionText(a))
	}
	return strings.Join(names, ", ")
}

// recordText is what of a record shows in a trace: the state, and whatever is out of the ordinary.
func recordText(r Record) string {
	text := fmt.Sprintf("%s %s gen %d", r.State, r.Phase, r.Generation)
	for _, f := range []struct {
		is   bool
		text string
	}{
		{r.Wanted == WantStopped && r.State != Stopped, "not wanted"},
		{r.Renew, "then anew"},
		{r.Forced, "forced"},
		{r.NextStart > 0, fmt.Sprintf("next at %v", r.NextStart)},
		{r.HeldUntil > 0, fmt.Sprintf("held until %v", r.HeldUntil)},
		{r.Restarts > 0, fmt.Sprintf("restarts %d", r.Restarts)},
	} {
		if f.is {
			text += ", " + f.text
		}
	}
	return text
}
