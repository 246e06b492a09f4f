package without

import "testing"

func TestParse(t *testing.T) {
	for _, c := range []struct {
		list string
		want []string
		not  []string
	}{
		{"", nil, []string{"pidfd", ""}},
		{"pidfd", []string{"pidfd"}, []string{"peerpidfd", ""}},
		{" pidfd , abstract,", []string{"pidfd", "abstract"}, []string{"peerpidfd", ""}},
	} {
		set := parse(c.list)
		for _, name := range c.want {
			if !set[name] {
				t.Errorf("parse(%q): %q is not missing, want missing", c.list, name)
			}
		}
		for _, name := range c.not {
			if set[name] {
				t.Errorf("parse(%q): %q is missing, want present", c.list, name)
			}
		}
	}
}
