package messagetext

import (
	"fmt"
	"strings"
	"text/template/parse"
)

// kind is what a pipeline yields. It is known without running it, so that no comparison can fail later.
type kind int

const (
	isText  kind = iota // a field or a quoted text
	isTruth             // of not, eq, ne
	isMixed             // of and, or: whichever of their arguments
)

// scope is what {{.}} stands for at a place.
type scope struct {
	within bool // inside {{with}}: the dot is its value, not the fields
	dot    kind
	blocks int // how many {{if}} and {{with}} are around it
	parens int // how many parentheses are around it
}

// checker walks a parsed template and allows what it knows. Whatever it does not name is refused.
type checker struct {
	body string
	uses map[string]bool
}

func (c *checker) refuse(n parse.Node, format string, args ...any) error {
	return place(c.body, int(n.Position()), fmt.Sprintf(format, args...))
}

func (c *checker) list(l *parse.ListNode, s scope) error {
	if l == nil {
		return nil
	}
	for _, n := range l.Nodes {
		if err := c.node(n, s); err != nil {
			return err
		}
	}
	return nil
}

func (c *checker) node(n parse.Node, s scope) error {
	switch n := n.(type) {
	case *parse.TextNode:
		return nil
	case *parse.ActionNode:
		_, err := c.pipe(n.Pipe, s)
		return err
	case *parse.IfNode:
		return c.branch(&n.BranchNode, s, false)
	case *parse.WithNode:
		return c.branch(&n.BranchNode, s, true)
	}
	return c.refuse(n, "%s is not available; a template has fields, if, with, else and end", keyword(n))
}

func (c *checker) branch(b *parse.BranchNode, s scope, with bool) error {
	if s.blocks >= maxDepth {
		return c.refuse(b, "blocks are nested more than %d deep", maxDepth)
	}
	k, err := c.pipe(b.Pipe, s)
	if err != nil {
		return err
	}
	inner := s
	inner.blocks++
	if with {
		inner.within, inner.dot = true, k
	}
	if err := c.list(b.List, inner); err != nil {
		return err
	}
	// An {{else if}} is parsed as a block within the else; a chain of them may be long.
	return c.list(b.ElseList, s)
}

func (c *checker) pipe(p *parse.PipeNode, s scope) (kind, error) {
	if len(p.Decl) > 0 {
		return 0, c.refuse(p, "variables are not available")
	}
	var piped []kind
	for i, cmd := range p.Cmds {
		k, err := c.command(cmd, piped, i > 0, s)
		if err != nil {
			return 0, err
		}
		piped = []kind{k}
	}
	return piped[0], nil
}

// command is a value alone, or a function with its arguments; what the stage before it in a pipeline
// yielded is the last of these.
func (c *checker) command(cmd *parse.CommandNode, piped []kind, stage bool, s scope) (kind, error) {
	name, isCall := cmd.Args[0].(*parse.IdentifierNode)
	if !isCall {
		if len(cmd.Args) > 1 {
			return 0, c.refuse(cmd.Args[1], "a value takes no argument")
		}
		if stage {
			return 0, c.refuse(cmd, "only a function can follow |")
		}
		return c.value(cmd.Args[0], s)
	}
	var args []kind
	for _, a := range cmd.Args[1:] {
		k, err := c.value(a, s)
		if err != nil {
			return 0, err
		}
		args = append(args, k)
	}
	return c.call(name, append(args, piped...))
}

func (c *checker) call(name *parse.IdentifierNode, args []kind) (kind, error) {
	least, most := 1, len(args)
	switch name.Ident {
	case "not":
		most = 1
	case "eq":
		least = 2
	case "ne":
		least, most = 2, 2
	}
	if len(args) < least || len(args) > most {
		return 0, c.refuse(name, "%s takes another number of values than %d", name.Ident, len(args))
	}
	switch name.Ident {
	case "and", "or":
		result := args[0]
		for _, k := range args {
			if k != result {
				return isMixed, nil
			}
		}
		return result, nil
	case "eq", "ne":
		for _, k := range args {
			if k != isText {
				return 0, c.refuse(name, "%s compares texts alone", name.Ident)
			}
		}
	}
	return isTruth, nil
}

func (c *checker) value(n parse.Node, s scope) (kind, error) {
	switch n := n.(type) {
	case *parse.StringNode:
		if strings.ContainsRune(n.Text, 0) || strings.ToValidUTF8(n.Text, "") != n.Text {
			return 0, c.refuse(n, notText)
		}
		return isText, nil
	case *parse.DotNode:
		if !s.within {
			return 0, c.refuse(n, "{{.}} stands for a value inside {{with}} alone; name a field")
		}
		return s.dot, nil
	case *parse.FieldNode:
		if s.within {
			return 0, c.refuse(n, "inside {{with}} a field is written {{$.%s}}", strings.Join(n.Ident, "."))
		}
		return isText, c.field(n, n.Ident)
	case *parse.VariableNode:
		if n.Ident[0] == "$" && len(n.Ident) > 1 {
			return isText, c.field(n, n.Ident[1:])
		}
		return 0, c.refuse(n, "variables are not available")
	case *parse.PipeNode:
		if s.parens++; s.parens > maxDepth {
			return 0, c.refuse(n, "parentheses are nested more than %d deep", maxDepth)
		}
		return c.pipe(n, s)
	case *parse.IdentifierNode:
		return 0, c.refuse(n, "a function among values is put in parentheses: (%s …)", n.Ident)
	}
	return 0, c.refuse(n, "%s is not available; values are fields and texts in quotes", n)
}

func (c *checker) field(n parse.Node, path []string) error {
	name := path[0]
	switch name {
	case "Name", "City", "SiteURL", "UnsubscribeURL":
	default:
		return c.refuse(n, "there is no field {{.%s}}; the fields are {{.Name}}, {{.City}}, {{.SiteURL}}, {{.UnsubscribeURL}}", strings.Join(path, "."))
	}
	if len(path) > 1 {
		return c.refuse(n, "{{.%s}} is a text, and has no field %s", name, path[1])
	}
	c.uses[name] = true
	return nil
}

// keyword is a node as its author would call it.
func keyword(n parse.Node) string {
	switch n.(type) {
	case *parse.RangeNode:
		return "{{range}}"
	case *parse.TemplateNode:
		return "{{template}}"
	case *parse.BreakNode:
		return "{{break}}"
	case *parse.ContinueNode:
		return "{{continue}}"
	}
	return "this"
}
