package messagetext

import (
	"regexp"
	"sort"
	"strconv"
	"strings"
	"text/template/parse"
	"unicode/utf8"
)

// place is an error at a byte of the body.
func place(body string, at int, message string) *Error {
	before := body[:min(at, len(body))]
	line := strings.Count(before, "\n") + 1
	column := utf8.RuneCountInString(before[strings.LastIndexByte(before, '\n')+1:]) + 1
	return &Error{line, column, message}
}

// parseError makes an [*Error] of one of text/template's: "template: message:3: unexpected EOF". It tells
// the line alone, so the place of the action is looked for.
func parseError(body string, err error) *Error {
	message := strings.TrimPrefix(err.Error(), "template: "+templateName+":")
	number, rest, _ := strings.Cut(message, ":")
	line, convErr := strconv.Atoi(number)
	if convErr != nil {
		return &Error{1, 1, message}
	}
	message = strings.TrimSpace(rest)
	if message == "unexpected EOF" {
		return place(body, unclosedBlock(body), "this {{if}} or {{with}} has no {{end}}")
	}
	start := 0
	for range line - 1 {
		start += strings.IndexByte(body[start:], '\n') + 1
	}
	return place(body, brokenAction(body, start, err.Error()), explain(message))
}

// brokenAction finds, in the line that starts at a byte, the action at which parsing fails as it did for
// the whole. The parser stops at its first error, so every text that ends after the action makes the same
// error and none that ends before it does: the actions can be searched by halves.
func brokenAction(body string, start int, failure string) int {
	end := len(body)
	if i := strings.IndexByte(body[start:], '\n'); i >= 0 {
		end = start + i
	}
	type action struct{ from, to int }
	var actions []action
	for at := start; at < end; {
		from := strings.Index(body[at:end], "{{")
		if from < 0 {
			break
		}
		from += at
		to := strings.Index(body[from:], "}}")
		if to < 0 {
			actions = append(actions, action{from, len(body)})
			break
		}
		at = from + to + len("}}")
		actions = append(actions, action{from, at})
	}
	i := sort.Search(len(actions), func(i int) bool {
		_, err := parse.Parse(templateName, body[:actions[i].to], "", "", functions())
		return err != nil && err.Error() == failure
	})
	if i == len(actions) {
		return start // an action that began on an earlier line
	}
	return actions[i].from
}

// unclosedBlock is where the innermost block without an end begins.
func unclosedBlock(body string) int {
	var open []int
	for _, m := range regexp.MustCompile(`\{\{(?:- )?\s*(if|with|range|end)\b`).FindAllStringSubmatchIndex(body, -1) {
		switch {
		case body[m[2]:m[3]] != "end":
			open = append(open, m[0])
		case len(open) > 0:
			open = open[:len(open)-1]
		}
	}
	if len(open) == 0 {
		return len(body)
	}
	return open[len(open)-1]
}

// indexDefinition is where the first action that defines a template begins, -1 where there is none.
func indexDefinition(body string) int {
	found := regexp.MustCompile(`\{\{(?:- )?\s*(?:define|block)\b`).FindStringIndex(body)
	if found == nil {
		return -1
	}
	return found[0]
}

// explain puts text/template's most likely messages into an operator's words.
func explain(message string) string {
	if m := regexp.MustCompile(`^function "(\w+)" not defined$`).FindStringSubmatch(message); m != nil {
		return "there is no function " + m[1] + "; a field is written with a dot, as {{.Name}}, and the functions are and, or, not, eq, ne"
	}
	switch {
	case strings.HasPrefix(message, "unclosed action"):
		return "this {{ has no }}"
	case message == "missing value for command":
		return "{{}} names nothing"
	case strings.HasPrefix(message, "unexpected {{end}}"):
		return "{{end}} without {{if}} or {{with}}"
	case strings.HasPrefix(message, "unexpected {{else}}"):
		return "{{else}} without {{if}} or {{with}}"
	}
	return message
}
