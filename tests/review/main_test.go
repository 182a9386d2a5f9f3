package review

import (
	"testing"

	"github.com/requorum/requorum/tests/harness"
)

func TestMain(m *testing.M) {
	harness.MainAnd(m, func(code int) int {
		endBrowser()
		return code
	})
}
