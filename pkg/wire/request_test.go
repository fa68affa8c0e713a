package wire

import (
	"reflect"
	"testing"

	"pgregory.net/rapid"

	"segue/pkg/change"
	"segue/pkg/request"
	"segue/schemas"
)

func requests(t testing.TB) *Requests {
	t.Helper()
	r, err := NewRequests(t.Context(), &memory{}, "shop.requests")
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestRequestIsWhatGoavroWrites(t *testing.T) {
	s := requests(t)
	codec := checker(t, s.value.text)
	name := rapid.String()
	rapid.Check(t, func(t *rapid.T) {
		r := request.Request{
			ID: name.Draw(t, "id"), Kind: request.Keys, Table: drawName(t), By: name.Draw(t, "by"), Written: rapid.Int64().Draw(t, "written"),
			Where: name.Draw(t, "where"),
		}
		keys := []any{}
		for range rapid.IntRange(0, 4).Draw(t, "keys") {
			key := drawValues(t)
			r.Keys = append(r.Keys, key)
			keys = append(keys, nativeKey(key))
		}
		framed, err := s.EncodeRequest(r)
		if err != nil {
			t.Fatal(err)
		}
		sameBytes(t, codec, framed, dict{
			"id": r.ID, "kind": string(r.Kind), "schema": r.Table.Schema, "table": r.Table.Table, "keys": keys, "by": r.By, "written": r.Written,
			"where": r.Where,
		})
		back, err := s.DecodeRequest(framed)
		if err != nil {
			t.Fatal(err)
		}
		if len(back.Keys) != len(r.Keys) {
			t.Fatalf("%d keys of %d", len(back.Keys), len(r.Keys))
		}
		for i := range r.Keys {
			if r.Keys[i] != nil && !sameRow(r.Keys[i], back.Keys[i]) {
				t.Fatalf("key %d came back as %+v", i, back.Keys[i])
			}
		}
		r.Keys, back.Keys = nil, nil
		if !reflect.DeepEqual(r, back) {
			t.Fatalf("came back as another request:\nin  %+v\nout %+v", r, back)
		}
	})
}

// nativeKey is nativeValues with the enum in the requests' namespace.
func nativeKey(key change.Row) []any {
	values := nativeValues(key)
	for i, v := range values {
		if u, ok := v.(map[string]any); ok && u["segue.mapped.Absent"] != nil {
			values[i] = union("segue.requests.Absent", "absent")
		}
	}
	return values
}

// A request that waits since before predicates were there is read, in both forms of the wire.
func TestRequestsFromBeforePredicatesAreRead(t *testing.T) {
	for name, reg := range map[string]Registry{"avro": &memory{}, "json": Unregistered{}} {
		s, err := NewRequests(t.Context(), reg, "shop.requests")
		if err != nil {
			t.Fatal(err)
		}
		text, err := without(schemas.Request, "where")
		if err != nil {
			t.Fatal(err)
		}
		former, err := register(t.Context(), reg, "shop.requests-value", text)
		if err != nil {
			t.Fatal(err)
		}
		want := request.Request{ID: "1", Kind: request.Keys, Table: users().Name, By: "applier", Written: 7}
		b, err := s.EncodeRequest(want)
		if err != nil {
			t.Fatal(err)
		}
		old := append(former.frame(nil), b[len(s.value.head):len(b)-1]...) // without the empty predicate
		if got, err := s.DecodeRequest(old); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
		if _, err := s.DecodeRequest(b); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
