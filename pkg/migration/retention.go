package migration

import (
	"errors"
	"regexp"
	"strconv"
	"time"
)

// retentionForm is a number of minutes (5 at least), hours or days. Minutes are the least: the target commits
// asynchronously, and what a crash there takes back must still be in Kafka.
var retentionForm = regexp.MustCompile(`^([5-9]m|[1-9][0-9]{1,4}m|[1-9][0-9]{0,3}h|[1-9][0-9]{0,2}d)$`)

func parseRetention(s string) (time.Duration, error) {
	if !retentionForm.MatchString(s) {
		return 0, errors.New("write minutes (5m at least), hours or days, such as 90m, 24h or 7d")
	}
	n, err := strconv.Atoi(s[:len(s)-1])
	unit := map[byte]time.Duration{'m': time.Minute, 'h': time.Hour, 'd': 24 * time.Hour}[s[len(s)-1]]
	return time.Duration(n) * unit, err
}
