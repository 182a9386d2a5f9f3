package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/requorum/requorum/planner/render"
	"github.com/requorum/requorum/planner/render/page"
	"github.com/requorum/requorum/planner/saved"
)

// form is how a saved plan is printed.
type form struct {
	format   string
	maxBytes int
}

var formats = []string{"text", "json", "markdown", "html"}

func (f *form) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.format, "format", "text", "`FORMAT`: text, json, markdown (for a pull request) or html (one page)")
	cmd.Flags().IntVar(&f.maxBytes, "max-bytes", render.MarkdownLimit, "the most that markdown may have, `N` bytes")
	_ = cmd.RegisterFlagCompletionFunc("format", cobra.FixedCompletions(formats, cobra.ShellCompDirectiveNoFileComp))
}

func (f *form) check() error {
	if !slices.Contains(formats, f.format) {
		return fmt.Errorf("--format: there is no format %q; the formats are %s", f.format, strings.Join(formats, ", "))
	}
	if f.maxBytes < render.MarkdownLeast {
		return fmt.Errorf("--max-bytes: the least is %d, for the verdict is never cut", render.MarkdownLeast)
	}
	return nil
}

// print gives the plan on stdout; doc is its file.
func (f *form) print(file *saved.File, doc []byte) error {
	var out []byte
	switch f.format {
	case "json":
		out = doc
	case "markdown":
		out = []byte(render.Markdown(file, f.maxBytes))
	case "html":
		b, err := page.HTML(file)
		if err != nil {
			return err
		}
		out = b
	default:
		out = []byte(textOf(file))
	}
	_, err := os.Stdout.Write(out)
	return err
}

// showable refuses a plan that says another thing than it does, and marks one of
// which that can't be told.
func showable(file *saved.File) error {
	err := file.Derive(version)
	var derived *saved.DerivedError
	if errors.As(err, &derived) {
		fmt.Fprintln(os.Stderr, "requorum: "+err.Error())
		file.Unchecked = err.Error()
		return nil
	}
	return err
}

func textOf(file *saved.File) string {
	if file.Basis != saved.BasisDiff {
		unchecked := ""
		if file.Unchecked != "" {
			unchecked = render.Paragraph("Not checked: "+file.Unchecked+".", style())
		}
		return render.Text(file.Plan, style()) + "\n" + unchecked + render.Paragraph(fmt.Sprintf("Planned %s by %s, requorum %s. Digest %s.", file.Timestamp, file.By, file.Version, file.Digest), style())
	}
	text := render.Changes(file.Changes, style())
	if len(file.Changes) == 0 {
		return text
	}
	return text + "From a cluster that is in sync with the old file:\n\n" + render.Text(file.Plan, style())
}

func newShow() *cobra.Command {
	f := &form{}
	cmd := &cobra.Command{
		Use:   "show FILE",
		Short: "Show a saved plan, without any cluster",
		Long: `Shows a plan that plan --out or plan --json wrote: as text, as JSON, as Markdown
for a pull request, or as one HTML page. FILE is a file, or - for stdin. It looks
at nothing else, and needs no network.

Exit codes: 0 shown, 1 not.`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if err := f.check(); err != nil {
				return err
			}
			file, doc, err := readSaved(args[0])
			var edited *saved.EditedError
			if errors.As(err, &edited) {
				return fmt.Errorf("%s: %w", args[0], err)
			}
			if err != nil {
				return err
			}
			if err := showable(file); err != nil {
				return fmt.Errorf("%s: %w", args[0], err)
			}
			return f.print(file, doc)
		},
	}
	f.flags(cmd)
	return cmd
}
