package bench

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"

	"dmapath/platform"
	"dmapath/results"
)

// Manifest returns what repeats the comparison: the experiment and the whole platform, every value of it.
func (c *Comparison) Manifest() *results.Manifest {
	return &results.Manifest{Version: results.Version(), Seed: c.Exp.Seed, Config: []results.Section{
		{Name: "experiment", Text: string(c.Exp.yaml())}, {Name: "platform", Text: string(c.Platform.Canonical())}}}
}

func (x *Experiment) yaml() []byte {
	b, err := yaml.MarshalWithOptions(x, yaml.Indent(2))
	if err != nil {
		panic("bench: " + err.Error())
	}
	return b
}

// FromManifest returns platform and experiment of a manifest read from a file called name.
func FromManifest(name string, m *results.Manifest) (*platform.Spec, Experiment, error) {
	x := Experiment{}
	text, ok := m.Section("experiment")
	if !ok {
		return nil, x, fmt.Errorf("%s: config has no section experiment", name)
	}
	if err := results.DecodeYAML([]byte(text), &x); err != nil {
		return nil, x, fmt.Errorf("%s: config.experiment: %w", name, err)
	}
	if text, ok = m.Section("platform"); !ok {
		return nil, x, fmt.Errorf("%s: config has no section platform", name)
	}
	s, err := platform.Parse(name+": config.platform", []byte(text))
	return s, x, err
}

// Set changes one value by its key, as in nvme.queue_depth=8; lists take their items separated by commas.
func (x *Experiment) Set(key, value string) error {
	v := reflect.ValueOf(x).Elem()
	parts := strings.Split(key, ".")
	for i, p := range parts {
		f, names := child(v, p)
		if !f.IsValid() {
			return fmt.Errorf("there is no workload.%s: allowed after workload.%s are %s%s", key, strings.Join(parts[:i], "."),
				strings.Join(names, ", "), didYouMean(p, names))
		}
		v = f
	}
	bad := func(want string) error { return fmt.Errorf("workload.%s is %q: want %s", key, value, want) }
	switch v.Kind() {
	case reflect.String:
		v.SetString(value)
	case reflect.Bool:
		b, err := strconv.ParseBool(value)
		if err != nil {
			return bad("true or false")
		}
		v.SetBool(b)
	case reflect.Int, reflect.Int64:
		n, err := strconv.ParseInt(value, 10, 64)
		if err != nil {
			return bad("a whole number")
		}
		v.SetInt(n)
	case reflect.Uint64:
		n, err := strconv.ParseUint(value, 10, 64)
		if err != nil {
			return bad("a whole number from 0 on")
		}
		v.SetUint(n)
	case reflect.Slice:
		v.Set(reflect.ValueOf(strings.Split(value, ",")))
	default:
		var names []string
		_, names = child(v, "")
		return fmt.Errorf("workload.%s is a group of values: set one of %s", key, strings.Join(names, ", "))
	}
	return nil
}

// ExperimentKeys lists the keys that Set takes.
func ExperimentKeys() (keys []string) {
	var walk func(v reflect.Value, before string)
	walk = func(v reflect.Value, before string) {
		_, names := child(v, "")
		for _, n := range names {
			if f, _ := child(v, n); f.Kind() == reflect.Struct {
				walk(f, before+n+".")
			} else {
				keys = append(keys, before+n)
			}
		}
	}
	walk(reflect.ValueOf(&Experiment{}).Elem(), "")
	return keys
}

// child returns the field of struct v whose YAML name is name, and the names of all fields.
func child(v reflect.Value, name string) (f reflect.Value, names []string) {
	if v.Kind() != reflect.Struct {
		return f, nil
	}
	for i := range v.NumField() {
		n, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("yaml"), ",")
		if n == "" || n == "-" {
			continue // not of a file
		}
		names = append(names, n)
		if n == name {
			f = v.Field(i)
		}
	}
	slices.Sort(names)
	return f, names
}
