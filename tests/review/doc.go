// Package review has what others wrote read what requorum writes for reviewers: the
// pages in a browser, the diagrams by Mermaid, plans by conftest.
package review
