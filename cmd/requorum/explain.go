package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/agext/levenshtein"
	"github.com/spf13/cobra"

	"github.com/requorum/requorum/planner"
	"github.com/requorum/requorum/planner/explain"
	"github.com/requorum/requorum/planner/render"
)

func newExplain(o *options) *cobra.Command {
	var step int
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "explain [TOPIC… | --step N [PATH]]",
		Short: "Say why a step, a refusal or a state is there, and how to do it by hand",
		Long: `Explains an action (set-aside), the code of a refusal or a note (no-leader), a
state by its name or number (split-brain, 13) or a consent (data-loss): why it
is there, what it keeps, exactly what etcd is asked, the commands that do the
same by hand, and where in etcd that stands. Without a TOPIC all are listed.

With --step the plan for PATH is made, as by requorum plan, and that step of it
is explained with its own values.

Exit codes: 0 done, 1 there is no such topic or step; with --step, 6 refused (no
plan, so that there are no steps: the refusal is explained).`,
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return topicNames(), cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case cmd.Flags().Changed("step"):
				return explainStep(cmd, o, args, step, asJSON)
			case len(args) == 0:
				all := append(explain.All(), explain.Bugs()...)
				return showTopics(all, asJSON, func() string { return render.Topics(all, style()) })
			}
			return explainTopics(args, asJSON)
		},
	}
	addVars(cmd, o)
	cmd.Flags().IntVar(&step, "step", 0, "explain step `N` of the plan for PATH")
	cmd.Flags().BoolVar(&asJSON, "json", false, "as JSON, and nothing else on stdout")
	return cmd
}

// topicNames are all names, each once.
func topicNames() []string {
	var out []string
	seen := map[string]bool{}
	for _, t := range append(explain.All(), explain.Bugs()...) {
		if !seen[t.Name] {
			out = append(out, t.Name)
		}
		seen[t.Name] = true
	}
	return out
}

func explainTopics(names []string, asJSON bool) error {
	var topics []explain.Topic
	for _, name := range names {
		found := explain.Find(name)
		if len(found) == 0 {
			return unknownTopic(name)
		}
		topics = append(topics, found...)
	}
	return showTopics(topics, asJSON, func() string {
		text := ""
		for i, t := range topics {
			if i > 0 {
				text += "\n"
			}
			text += render.Topic(t, nil, style())
		}
		return text
	})
}

func unknownTopic(name string) error {
	best, distance := "", max(2, len(name)/3)+1
	for _, n := range topicNames() {
		if d := levenshtein.Distance(name, n, nil); d < distance {
			best, distance = n, d
		}
	}
	text := fmt.Sprintf("there is no topic %q", name)
	if best != "" {
		text += fmt.Sprintf("; did you mean %q?", best)
	}
	return errors.New(text + " (requorum explain lists all)")
}

// showTopics prints the topics as JSON, or what text gives.
func showTopics(topics []explain.Topic, asJSON bool, text func() string) error {
	if !asJSON {
		_, err := fmt.Fprint(os.Stdout, text())
		return err
	}
	b, err := json.MarshalIndent(struct {
		Etcd         string                `json:"etcd"`
		Topics       []explain.Topic       `json:"topics"`
		Placeholders []explain.Placeholder `json:"placeholders"`
		Situations   []explain.Situation   `json:"situations"`
	}{explain.EtcdVersion, topics, explain.Placeholders(), explain.Situations()}, "", "  ")
	if err != nil {
		return err
	}
	fmt.Println(string(b))
	return nil
}

// explainStep plans, and explains the step with its own values; where the plan is
// refused, the refusal.
func explainStep(cmd *cobra.Command, o *options, args []string, n int, asJSON bool) error {
	if len(args) > 1 {
		return errors.New("explain --step takes one PATH at most")
	}
	in, err := look(cmd, o, args)
	if err != nil {
		return err
	}
	p := planner.New(in)
	if p.Refusal != nil {
		fmt.Fprintf(os.Stderr, "There is no plan, and no step %d: %s (%s).\n\n", n, p.Refusal.Title, p.Refusal.Code)
		if err := explainTopics([]string{string(p.Refusal.Code)}, asJSON); err != nil {
			return err
		}
		return exitWith(exitRefused, nil)
	}
	if len(p.Steps) == 0 {
		return fmt.Errorf("there is no step %d: the plan has nothing to do", n)
	}
	if n < 1 || n > len(p.Steps) {
		return fmt.Errorf("there is no step %d: the plan has the steps 1 to %d", n, len(p.Steps))
	}
	st := p.Steps[n-1]
	t, ok := explain.ForStep(st)
	if !ok {
		return fmt.Errorf("step %d (%s) has no explanation", n, st.Kind)
	}
	if !asJSON {
		_, err := fmt.Fprint(os.Stdout, render.ExplainedStep(p, st, t, style()))
		return err
	}
	b, err := render.StepJSON(st, t)
	if err != nil {
		return err
	}
	_, err = os.Stdout.Write(b)
	return err
}
