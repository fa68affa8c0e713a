package wire

import (
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/twmb/franz-go/pkg/sr/srfake"

	"segue/pkg/change"
	"segue/pkg/fault"
)

// fake starts a registry that counts the requests it gets.
func fake(t *testing.T, opts ...srfake.Option) (*srfake.Registry, *atomic.Int64) {
	t.Helper()
	f := srfake.New(opts...)
	t.Cleanup(f.Close)
	var n atomic.Int64
	f.Intercept(func(http.ResponseWriter, *http.Request) bool {
		n.Add(1)
		return false
	})
	return f, &n
}

func client(t *testing.T, cfg RegistryConfig) *Confluent {
	t.Helper()
	r, err := NewRegistry(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestRegistryAsksOnce(t *testing.T) {
	f, n := fake(t)
	reg := client(t, RegistryConfig{URL: f.URL()})
	const schema = `{"type":"string"}`
	first, err := reg.ID(t.Context(), "a-value", schema)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := reg.ID(t.Context(), "a-value", schema); err != nil || again != first {
		t.Errorf("id %d, %v; then %d", again, err, first)
	}
	for range 2 {
		if text, err := reg.Schema(t.Context(), first); err != nil || text != schema {
			t.Errorf("schema %s, %v", text, err)
		}
	}
	if got := n.Load(); got != 2 {
		t.Errorf("%d requests, want 2", got)
	}
	if err := reg.Ping(t.Context()); err != nil {
		t.Error(err)
	}
}

// Two processes meet in the registry: what one writes the other reads, whatever the order of the ids.
func TestRegistryBetweenProcesses(t *testing.T) {
	f, _ := fake(t)
	one, other := client(t, RegistryConfig{URL: f.URL()}), client(t, RegistryConfig{URL: f.URL()})
	old := users()
	old.Columns[1].Type, old.Columns[1].Mod = "character varying(40)", 44
	framed := encodeBy(t, one, old)
	var back change.Change
	if err := rawCodec(t, other, users(), here).Decode(framed, &back); err != nil || len(back.After) != len(old.Columns) {
		t.Errorf("%+v, %v", back, err)
	}
	for _, subject := range []string{"shop.raw.public.users-value", "shop.raw.public.users-key"} {
		if !f.SubjectExists(subject) {
			t.Errorf("no subject %s", subject)
		}
	}
}

// A password is used, and never shown.
func TestRegistryAuthentication(t *testing.T) {
	f, _ := fake(t, srfake.WithAuth("Basic c2VndWU6czNjcjN0")) // segue:s3cr3t
	host := strings.TrimPrefix(f.URL(), "http://")
	for _, cfg := range []RegistryConfig{{URL: "http://segue:s3cr3t@" + host}, {URL: f.URL(), User: "segue", Password: "s3cr3t"}} {
		if _, err := client(t, cfg).ID(t.Context(), "a-value", `"string"`); err != nil {
			t.Error(err)
		}
	}
	_, err := client(t, RegistryConfig{URL: "http://segue:s3cr3t-but-wrong@" + host}).ID(t.Context(), "a-value", `"string"`)
	if fault.ClassOf(err) != fault.ClassFatal || fault.HintOf(err) == "" {
		t.Errorf("a wrong password: %v (%s)", err, fault.HintOf(err))
	}
	f.Close()
	_, err2 := client(t, RegistryConfig{URL: "http://segue:s3cr3t@" + host}).ID(t.Context(), "a-value", `"string"`)
	for _, err := range []error{err, err2} {
		if err == nil || strings.Contains(err.Error(), "s3cr3t") {
			t.Errorf("want an error that does not show the password: %v", err)
		}
	}
}

// Each way to fail says where, which subject, and what to do; only what may pass by itself is tried again.
func TestRegistryErrors(t *testing.T) {
	for _, v := range []struct {
		status int
		class  fault.Class
		hint   string
	}{
		{http.StatusConflict, fault.ClassFatal, "/config/shop.raw.public.users-value"},
		{http.StatusUnprocessableEntity, fault.ClassFatal, "refused"},
		{http.StatusForbidden, fault.ClassFatal, "password"},
		{http.StatusTooManyRequests, fault.ClassTransient, "log"},
		{http.StatusServiceUnavailable, fault.ClassTransient, "log"},
	} {
		f, _ := fake(t)
		f.Intercept(func(w http.ResponseWriter, _ *http.Request) bool {
			http.Error(w, `{"error_code":1,"message":"because"}`, v.status)
			return true
		})
		_, err := NewRaw(t.Context(), client(t, RegistryConfig{URL: f.URL()}), "shop.raw.public.users", users(), here)
		if fault.ClassOf(err) != v.class || !strings.Contains(fault.HintOf(err), v.hint) || !strings.Contains(err.Error(), "shop.raw.public.users-value") {
			t.Errorf("status %d: %v error %v (%s)", v.status, fault.ClassOf(err), err, fault.HintOf(err))
		}
	}
}

func TestRegistryAwayOrWithoutTheSchema(t *testing.T) {
	f, _ := fake(t)
	reg := client(t, RegistryConfig{URL: f.URL()})
	if _, err := reg.Schema(t.Context(), 4711); fault.ClassOf(err) != fault.ClassFatal || !strings.Contains(fault.HintOf(err), "another registry") {
		t.Errorf("an unknown id: %v (%s)", err, fault.HintOf(err))
	}
	f.Close()
	_, err := reg.ID(t.Context(), "a-value", `"string"`)
	if fault.ClassOf(err) != fault.ClassTransient || !strings.Contains(fault.HintOf(err), "SEGUE_REGISTRY_URL") {
		t.Errorf("away: %v (%s)", err, fault.HintOf(err))
	}
	if err := reg.Ping(t.Context()); fault.ClassOf(err) != fault.ClassTransient {
		t.Errorf("ping of a registry that is away: %v", err)
	}
	for _, url := range []string{"", "localhost:8081", "ftp://h", "http://", "http://user:s3cr3t@h:x"} {
		if _, err := NewRegistry(RegistryConfig{URL: url}); err == nil || fault.HintOf(err) == "" || strings.Contains(err.Error(), "s3cr3t") {
			t.Errorf("URL %q: %v", url, err)
		}
	}
}
