package ssh

import (
	_ "embed"
	"fmt"
)

// AgentDir is the folder on a host that has the agent, as a file named by its
// sha256. It is root's own.
const AgentDir = "/var/lib/requorum/agent"

// placeMagic begins the lines by which the scripts speak.
const placeMagic = "requorum-place "

// login runs as the user who logged in; root, which it is sent after that, as root.
//
//go:embed login.sh
var login string

//go:embed root.sh
var rootScript string

// command is what the user's shell on the host, whichever that is, is given: it
// reads the script from stdin.
func command() string {
	return fmt.Sprintf(`exec sh -c 'eval "$(head -c %d)"'`, len(loginScript()))
}

func loginScript() string { return fmt.Sprintf("size=%d\n%s", len(rootScript), login) }
