package wire

import (
	"math"
	"math/rand/v2"
	"strconv"
	"testing"

	"segue/pkg/change"
	"segue/pkg/pgtest"
	"segue/pkg/table"
)

func TestParseInt(t *testing.T) {
	for text, want := range map[string]bool{
		"0": true, "-1": true, "9223372036854775807": true, "-9223372036854775808": true,
		"9223372036854775808": false, "-9223372036854775809": false, "9999999999999999999": false, "-9999999999999999999": false,
		"-0": false, "00": false, "01": false, "-01": false, "+1": false, "": false, "-": false, "1 ": false, "1e3": false, "99999999999999999999": false,
	} {
		n, ok := parseInt([]byte(text), math.MinInt64, math.MaxInt64)
		if ok != want {
			t.Errorf("%q: %v", text, ok)
		}
		if ok && strconv.FormatInt(n, 10) != text {
			t.Errorf("%q becomes %d", text, n)
		}
	}
	for _, text := range []string{"2147483648", "-2147483649"} {
		if _, ok := parseInt([]byte(text), math.MinInt32, math.MaxInt32); ok {
			t.Errorf("%s passes for an int", text)
		}
	}
}

// doubles holds the floats whose text is hard: limits, powers of ten and of two (whose neighbours lie at two distances), edges of
// the fixed notation, and decimals half way between two floats; then random ones.
func doubles() []float64 {
	out := []float64{
		0, math.Copysign(0, -1), math.Inf(1), math.Inf(-1), math.NaN(), math.MaxFloat64, math.SmallestNonzeroFloat64,
		1e23, 9e23, 8.41e21, 2.0e22, 9007199254740993, 123456789012345678, 0.1, 0.3, 1.0 / 3, 5e-324, 2.2250738585072014e-308,
	}
	for e := -30; e <= 30; e++ {
		f := math.Pow10(e)
		out = append(out, f, math.Nextafter(f, 0), math.Nextafter(f, math.Inf(1)), -f, 1.5*f, 12345.678*f)
	}
	for e := -1074; e < 1024; e += 3 {
		out = append(out, math.Ldexp(1, e))
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for range 20000 {
		out = append(out, math.Float64frombits(rng.Uint64()), float64(rng.Int64N(1<<53))*math.Pow10(rng.IntN(40)-20), math.Round(rng.Float64()*1e6)/100)
	}
	return out
}

// A float comes out with the very text that the server prints for it: by the same rules, or carried along where the
// server goes its own way.
func TestFloatsAreTheServers(t *testing.T) {
	conn := pgtest.Connect(t, pgtest.Database(t))
	in64 := doubles()
	in32 := make([]float32, len(in64))
	for i, f := range in64 {
		in32[i] = float32(f)
		if i%2 == 1 {
			in32[i] = math.Float32frombits(uint32(math.Float64bits(f))) // any bits will do
		}
	}
	pgtest.Exec(t, conn, "set extra_float_digits = 3")
	var out64, out32 []string
	const query = "select array_agg(v::text order by n) from unnest($1::float8[]) with ordinality u(v, n)"
	if err := conn.QueryRow(t.Context(), query, in64).Scan(&out64); err != nil {
		t.Fatal(err)
	}
	const query32 = "select array_agg(v::text order by n) from unnest($1::float4[]) with ordinality u(v, n)"
	if err := conn.QueryRow(t.Context(), query32, in32).Scan(&out32); err != nil {
		t.Fatal(err)
	}
	shape := &table.Table{Name: table.Name{Schema: "public", Table: "f"}, Columns: []table.Column{
		{Name: "d", Base: "double precision"}, {Name: "f", Base: "real"},
	}}
	r := rawCodec(t, &memory{}, shape, here)
	carried := 0
	for i := range out64 {
		c := change.Change{Table: shape, Op: change.Insert, After: row(out64[i], out32[i])}
		framed, err := r.AppendValue(nil, &c)
		if err != nil {
			t.Fatal(err)
		}
		var back change.Change
		if err := r.Decode(framed, &back); err != nil || !sameChange(&c, &back) {
			t.Fatalf("%s, %s came back as %s, %s (%v)", out64[i], out32[i], back.After[0].Bytes(), back.After[1].Bytes(), err)
		}
		for j, k := range []kind{kindDouble, kindFloat} {
			text := c.After[j].Bytes()
			_, how := k.encode(nil, text)
			if how == none {
				t.Errorf("%s is no %s", text, k.avro())
			}
			if how != exact {
				carried++
			}
		}
	}
	t.Logf("%d floats, %d of them with a text of the server's own", 2*len(out64), carried)
	if carried > len(out64)/100 {
		t.Errorf("%d of %d floats need their text beside them: the printing rules differ from the server's", carried, 2*len(out64))
	}
}
