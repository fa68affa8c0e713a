package pgsource

import (
	"fmt"
	"slices"

	"segue/pkg/table"
)

// differences says how the log's relation differs from the shape, for people.
func (r *relations) differences(t *table.Table, rel *Relation) []string {
	var out []string
	if name := (table.Name{Schema: rel.Schema, Table: rel.Table}); name != t.Name {
		out = append(out, fmt.Sprintf("the table was renamed: %s is now %s", t.Name, name))
	}
	out = append(out, r.columnDifferences(t, rel)...)
	return append(out, identityDifferences(t, rel)...)
}

func (r *relations) columnDifferences(t *table.Table, rel *Relation) []string {
	var out []string
	var missing []table.Column
	for _, c := range t.Columns {
		if c.Generated {
			continue
		}
		i := slices.IndexFunc(rel.Columns, func(rc RelationColumn) bool { return rc.Name == c.Name })
		if i < 0 {
			missing = append(missing, c)
		} else if rc := rel.Columns[i]; rc.OID != c.OID || rc.Mod != c.Mod {
			out = append(out, fmt.Sprintf("column %s: the type was %s, now it is %s", c.Name, c.Type, r.typeName(&rc)))
		}
	}
	var added []RelationColumn
	for _, rc := range rel.Columns {
		if t.Column(rc.Name) < 0 {
			added = append(added, rc)
		}
	}
	if len(missing) == 1 && len(added) == 1 && missing[0].OID == added[0].OID && missing[0].Mod == added[0].Mod {
		return append(out, fmt.Sprintf("column %s is now called %s", missing[0].Name, added[0].Name))
	}
	for _, c := range missing {
		out = append(out, fmt.Sprintf("column %s was dropped", c.Name))
	}
	for i := range added {
		out = append(out, fmt.Sprintf("column %s was added, %s", added[i].Name, r.typeName(&added[i])))
	}
	return out
}

// typeName is all that the log tells of a type: the name where it is not built in, else its number.
func (r *relations) typeName(c *RelationColumn) string {
	name, ok := r.types[c.OID]
	if !ok {
		name = fmt.Sprintf("type %d", c.OID)
	}
	if c.Mod >= 0 {
		name += fmt.Sprintf(" with modifier %d", c.Mod)
	}
	return name
}

func identityDifferences(t *table.Table, rel *Relation) []string {
	if table.Identity(rel.Identity) != t.Identity {
		return []string{fmt.Sprintf("the replica identity was %s, now it is %s", identityName(t.Identity), identityName(table.Identity(rel.Identity)))}
	}
	if t.Identity != table.IdentityDefault && t.Identity != table.IdentityIndex {
		return nil
	}
	var was, is []string
	for _, k := range t.Key {
		was = append(was, t.Columns[k].Name)
	}
	for _, c := range rel.Columns {
		if c.Key {
			is = append(is, c.Name)
		}
	}
	slices.Sort(was)
	slices.Sort(is)
	if !slices.Equal(was, is) {
		return []string{fmt.Sprintf("the replica identity's columns were %q, now they are %q", was, is)}
	}
	return nil
}

func identityName(i table.Identity) string {
	switch i {
	case table.IdentityDefault:
		return "default"
	case table.IdentityNothing:
		return "nothing"
	case table.IdentityFull:
		return "full"
	case table.IdentityIndex:
		return "an index"
	}
	return fmt.Sprintf("%q", byte(i))
}
