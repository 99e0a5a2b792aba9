// Package edge is the ruleset that comes with shikra: what should not happen on a gateway, a controller or a small server.
package edge

import _ "embed"

// Name is how diagnostics name the rules file.
const Name = "modules/edge/rules.yaml"

// Rules is the rules file, in the rule language. It is compiled at start like any other.
//
//go:embed rules.yaml
var Rules []byte
