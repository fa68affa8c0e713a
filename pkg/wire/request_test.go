package wire

import (
	"reflect"
	"testing"

	"pgregory.net/rapid"

	"segue/pkg/change"
	"segue/pkg/request"
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
