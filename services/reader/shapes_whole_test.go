package reader_test

import (
	"testing"

	"segue/pkg/pgtest"
)

// Rows of a former shape of a table without key cannot be found on the target, and need not be: the table is loaded whole, behind them.
func TestATableWithoutAKeyThatChangedWhileNobodyRead(t *testing.T) {
	for name, statements := range map[string][]string{
		"a column comes": {
			`DELETE FROM public.k WHERE a = 3`, `ALTER TABLE public.k ADD COLUMN more text DEFAULT 'standard'`, `DELETE FROM public.k WHERE a = 4`,
		},
		"a type goes there and back, and no catalog shows it": {
			`ALTER TABLE public.k ALTER COLUMN b TYPE int USING length(b)`, `UPDATE public.k SET b = 7 WHERE a = 3`, `DELETE FROM public.k WHERE a = 4`,
			`ALTER TABLE public.k ALTER COLUMN b TYPE text USING 'n' || b`, `DELETE FROM public.k WHERE a = 5`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHarness(t, pgtest.Database(t), []string{"k", "a"}, lots...)
			h.start()
			x := h.target()
			x.settle()
			h.kill()
			pgtest.Exec(t, h.conn, statements...)
			h.revive = true
			h.start()
			x.reshape()
			x.settleAgain()
		})
	}
}
