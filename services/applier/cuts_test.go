package applier

import (
	"net/url"
	"os"
	"testing"

	"segue/pkg/nettest"
	"segue/pkg/pgtest"
)

// through is a site that reaches its target through a network that a test can break.
func through(t *testing.T, admin string) (*site, *nettest.Proxy) {
	t.Helper()
	u, err := url.Parse(admin)
	if err != nil {
		t.Fatal(err)
	}
	proxy, err := nettest.Open(u.Host, nettest.Postgres)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = proxy.Close() })
	u.Host = proxy.Addr()
	q := u.Query()
	q.Set("sslmode", "disable")
	u.RawQuery = q.Encode()
	return newSite(t, admin, u.String()), proxy
}

// opened runs a course from the beginning, over the making of the schema, the load by COPY and its end, with one break at the message with this
// number, and says whether there were so many.
func opened(t *testing.T, admin string, number int, action nettest.Action) bool {
	t.Helper()
	conn := pgtest.Connect(t, admin)
	pgtest.Exec(t, conn, "DROP SCHEMA IF EXISTS segue, public CASCADE", "CREATE SCHEMA public")
	_ = conn.Close(t.Context())
	s, proxy := through(t, admin)
	defer proxy.Close()
	point := proxy.At(nettest.Any, action, number)
	s.load(3)
	s.run(4)
	s.start()
	s.exact()
	return met(point)
}

func met(point *nettest.Point) bool {
	select {
	case <-point.Fired():
		return true
	default:
		return false
	}
}

func actions() map[string]nettest.Action {
	return map[string]nettest.Action{"before": nettest.Before, "answer_lost": nettest.After, "behind": nettest.AfterSent}
}

// The connection is lost before and behind every message of an applier that opens, loads and goes on, with the answer and without. There are
// hundreds: each run takes every seventeenth, from another one on with each action. SEGUE_CUTS=all takes all.
func TestAConnectionThatIsLostWhileTheTargetIsOpenedAndLoaded(t *testing.T) {
	if testing.Short() {
		t.Skip("breaks dozens of connections")
	}
	first, stride := 1, 17
	for name, action := range actions() {
		if os.Getenv("SEGUE_CUTS") == "all" {
			first, stride = 0, 1
		}
		t.Run(name, func(t *testing.T) {
			admin := pgtest.Database(t)
			n := first
			for opened(t, admin, n, action) && !t.Failed() {
				n += stride
			}
			t.Logf("broken at every %d. of %d messages", stride, n)
			if n < 100 {
				t.Errorf("only %d messages", n)
			}
		})
		first += 5
	}
}

// The connection is lost before and behind every message of the transactions of a stream: each statement, and each COMMIT, whose outcome is
// then not known. It ends with a round that needs fewer messages than the break waits for.
func TestAConnectionThatIsLostAtEveryMessageOfTheStream(t *testing.T) {
	for name, action := range actions() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, proxy := through(t, pgtest.Database(t))
			s.load(10)
			s.start()
			s.caughtUp()
			broken := 0
			for more := true; more && broken < 1000; broken++ {
				point := proxy.At(nettest.Any, action, broken)
				s.run(3)
				s.caughtUp()
				if more = met(point); !more {
					proxy.Drop(point)
				}
			}
			t.Logf("broken at each of %d messages", broken)
			if broken < 20 {
				t.Errorf("only %d messages", broken)
			}
			s.exact()
			s.shown("")
		})
	}
}
