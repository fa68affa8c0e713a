package mapping

import (
	"math/big"
	"strings"
)

// Decimal is an exact decimal number: what expressions see of numeric columns. Sums and products are exact; a
// quotient is asked for with its number of digits (div).
type Decimal struct {
	unscaled *big.Int // nil: zero
	scale    int      // digits behind the point
}

const errDecimal = reason("a numeric column holds NaN or infinity, which expressions cannot calculate with")

// ParseDecimal reads PostgreSQL's text of a numeric.
func ParseDecimal(s string) (Decimal, error) {
	whole, fraction, _ := strings.Cut(s, ".")
	digits := whole + fraction
	if bare := strings.TrimPrefix(digits, "-"); bare == "" || strings.Trim(bare, "0123456789") != "" {
		return Decimal{}, errDecimal
	}
	n, ok := new(big.Int).SetString(digits, 10)
	if !ok {
		return Decimal{}, errDecimal
	}
	return Decimal{unscaled: n, scale: len(fraction)}, nil
}

func decimalOfInt(n int) Decimal { return Decimal{unscaled: big.NewInt(int64(n))} }

// String is the number as PostgreSQL writes it, with all digits of its scale.
func (d Decimal) String() string {
	n := d.int()
	s := new(big.Int).Abs(n).String()
	if d.scale > 0 {
		if pad := d.scale + 1 - len(s); pad > 0 {
			s = strings.Repeat("0", pad) + s
		}
		s = s[:len(s)-d.scale] + "." + s[len(s)-d.scale:]
	}
	if n.Sign() < 0 {
		return "-" + s
	}
	return s
}

func (d Decimal) int() *big.Int {
	if d.unscaled == nil {
		return new(big.Int)
	}
	return d.unscaled
}

// at is the unscaled number for a scale that is not below d's own.
func (d Decimal) at(scale int) *big.Int {
	if scale == d.scale {
		return d.int()
	}
	return new(big.Int).Mul(d.int(), powerOfTen(scale-d.scale))
}

func powerOfTen(n int) *big.Int { return new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(n)), nil) }

func (d Decimal) plus(e Decimal) Decimal {
	s := max(d.scale, e.scale)
	return Decimal{unscaled: new(big.Int).Add(d.at(s), e.at(s)), scale: s}
}

func (d Decimal) minus(e Decimal) Decimal {
	s := max(d.scale, e.scale)
	return Decimal{unscaled: new(big.Int).Sub(d.at(s), e.at(s)), scale: s}
}

func (d Decimal) times(e Decimal) Decimal {
	return Decimal{unscaled: new(big.Int).Mul(d.int(), e.int()), scale: d.scale + e.scale}
}

func (d Decimal) compare(e Decimal) int {
	s := max(d.scale, e.scale)
	return d.at(s).Cmp(e.at(s))
}

// over is d / e, rounded half away from zero to so many digits, as PostgreSQL rounds.
func (d Decimal) over(e Decimal, digits int) (Decimal, error) {
	if e.int().Sign() == 0 {
		return Decimal{}, errDivision
	}
	n, m := d.int(), e.int()
	// d/e · 10^digits = n·10^(digits+e.scale-d.scale) / m
	if shift := digits + e.scale - d.scale; shift >= 0 {
		n = new(big.Int).Mul(n, powerOfTen(shift))
	} else {
		m = new(big.Int).Mul(m, powerOfTen(-shift))
	}
	return Decimal{unscaled: divideRounded(n, m), scale: digits}, nil
}

// round is d with so many digits behind the point, half away from zero.
func (d Decimal) round(digits int) Decimal {
	if digits >= d.scale {
		return Decimal{unscaled: d.at(digits), scale: digits}
	}
	return Decimal{unscaled: divideRounded(d.int(), powerOfTen(d.scale-digits)), scale: digits}
}

func divideRounded(n, m *big.Int) *big.Int {
	q, r := new(big.Int).QuoRem(n, m, new(big.Int))
	if r.Abs(r).Lsh(r, 1).CmpAbs(m) < 0 {
		return q
	}
	if n.Sign()*m.Sign() < 0 {
		return q.Sub(q, big.NewInt(1))
	}
	return q.Add(q, big.NewInt(1))
}
