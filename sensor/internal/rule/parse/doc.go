// Package parse reads rules files: YAML by item, and conditions in the language of Falco's rules, each thing with its exact
// place in the file, also inside folded and quoted text.
package parse
