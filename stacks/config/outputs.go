package config

import "reflect"

// FoundationOutputs are the outputs of a foundation that platforms read: those that FoundationValues can stand in for.
func FoundationOutputs() []string {
	var names []string
	for _, f := range reflect.VisibleFields(reflect.TypeFor[FoundationValues]()) {
		names = append(names, f.Tag.Get("json"))
	}
	return names
}
