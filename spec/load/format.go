package load

import (
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/hashicorp/hcl/v2/hclwrite"
)

// Format gives src in the canonical layout of HCL; formatting twice changes
// nothing more. JSON is checked and given back as it is. Where src has syntax
// errors the diagnostics say so and the bytes are src.
func Format(src []byte, filename string) ([]byte, hcl.Diagnostics) {
	_, diags := parseSource(src, filename)
	if diags.HasErrors() || strings.HasSuffix(filename, ".json") {
		return src, diags
	}
	// One pass of hclwrite may leave work for another (an aligned comment behind
	// a value that moved).
	for range 4 {
		out := hclwrite.Format(src)
		if string(out) == string(src) {
			break
		}
		if _, diags := hclsyntax.ParseConfig(out, filename, hcl.InitialPos); diags.HasErrors() {
			break
		}
		src = out
	}
	return src, nil
}
