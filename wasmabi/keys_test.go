package wasmabi

import (
	"reflect"
	"strings"
)

// jsonKeys returns the JSON keys of a struct.
func jsonKeys(v any) (keys []string) {
	t := reflect.TypeOf(v)
	for i := range t.NumField() {
		k, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		keys = append(keys, k)
	}
	return keys
}
