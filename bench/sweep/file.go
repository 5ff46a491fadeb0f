package sweep

import (
	"fmt"
	"strings"

	"github.com/goccy/go-yaml"

	"dmapath/results"
)

// File is a sweep as a user writes it down. What is empty is left to the command line.
//
//	platform: icelake-sp
//	method: grid            # random, lhs; with samples and seed
//	set:
//	  iommu.iotlb.entries: 16..4096*2
//	  workload.nvme.queue_depth: [1, 8, 64]
//	workload: [nvme]
//	variant: [map_page@7.3, map_phys@7.3]
//	backend: [iommu-strict]
//	cache: [warm]
//	operations: 1200
type File struct {
	Platform   string        `yaml:"platform"`
	Method     string        `yaml:"method"`
	Samples    int           `yaml:"samples"`
	Seed       uint64        `yaml:"seed"`
	Set        yaml.MapSlice `yaml:"set"`
	Workload   []string      `yaml:"workload"`
	Variant    []string      `yaml:"variant"`
	Backend    []string      `yaml:"backend"`
	Cache      []string      `yaml:"cache"`
	Operations int64         `yaml:"operations"`
}

// maxText is the largest file of a user, bytes.
const maxText = 1 << 20

// ParseFile reads a File; name is for messages. The settings come back as KEY=VALUES, in their order.
func ParseFile(name string, data []byte) (*File, []string, error) {
	if len(data) > maxText {
		return nil, nil, fmt.Errorf("%s: larger than %d bytes", name, maxText)
	}
	var f File
	if err := results.DecodeYAML(data, &f); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", name, err)
	}
	var sets []string
	for _, it := range f.Set {
		var values []string
		switch v := it.Value.(type) {
		case []any:
			for _, e := range v {
				text, ok := scalar(e)
				if !ok {
					return nil, nil, fmt.Errorf("%s: set.%v: %v is not a value", name, it.Key, e)
				}
				values = append(values, text)
			}
		default:
			text, ok := scalar(v)
			if !ok {
				return nil, nil, fmt.Errorf("%s: set.%v: want a value, a range or a list of them, not %v", name, it.Key, v)
			}
			values = []string{text}
		}
		sets = append(sets, fmt.Sprintf("%v=%s", it.Key, strings.Join(values, ",")))
	}
	return &f, sets, nil
}

// scalar writes a YAML scalar as the command line has it.
func scalar(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case bool, int, int64, uint64, float64:
		return fmt.Sprint(v), true
	}
	return "", false
}
