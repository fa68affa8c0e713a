package demo

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
)

// The dirt that a legacy store gathers: names with accents, mixed-case e-mails, phones in many notations, nulls and
// empty strings for the same thing. All of it comes out of a seeded generator, so that two runs make the same shop.

var (
	givenNames  = strings.Fields("Anna José Zoë Björn Łukasz Siân Renée Søren Ana-María Jürgen Chloé Ødger Naïma Mehmet Ğülşah Đorđe Ivana Ólafur Noël Thi-Mai Ming Yuki Sergej Aoife Kwame")
	familyNames = strings.Fields("Müller García O'Neill d'Agostino Nguyễn Kowalczyk Sørensen Çelik Lefèvre Åkesson Dvořák Öztürk Smith Jones Brown Tanaka Ivanović Björk Peña Costa Weiß Muñoz Novák Lindqvist")
	streets     = strings.Fields("Hauptstraße Elm-Street Rue-de-l'Église Calle-Mayor Kungsgatan Via-Roma Kärntner-Ring Nørregade Ulica-Długa")
	cities      = strings.Fields("München Sevilla Cork Łódź Århus İzmir Orléans Göteborg Brno Graz Leeds Porto")
	countries   = strings.Fields("DE ES IE PL DK TR FR SE CZ AT GB PT")
	hosts       = strings.Fields("example.com Example.ORG mail.example.net EXAMPLE.COM")
	words       = strings.Fields("delivery late again customer called twice promised refund box damaged colour differs size wrong happy thanks voucher sent résumé naïve façade Größe 日本語 ✓ invoice copy asked address moved phone changed")
	currencies  = strings.Fields("EUR SEK PLN GBP")
	states      = strings.Fields("new paid shipped done returned")
)

func pick(r *rand.Rand, from []string) string { return from[r.IntN(len(from))] }

// epochStart is the shop's first day; everything that the generator dates lies behind it.
func epochStart() time.Time { return time.Date(2013, 3, 1, 8, 0, 0, 0, time.UTC) }

func fullName(r *rand.Rand) string {
	name := pick(r, givenNames) + " " + pick(r, familyNames)
	if r.IntN(12) == 0 {
		name = " " + strings.ToUpper(name) + "  "
	}
	return name
}

// email is unique per customer whatever its case, or missing in one of three ways.
func email(r *rand.Rand, id int64) any {
	switch r.IntN(25) {
	case 0:
		return nil
	case 1:
		return fmt.Sprintf("  customer.%d@%s ", id, pick(r, hosts))
	}
	local := fmt.Sprintf("Customer.%d", id)
	if r.IntN(3) == 0 {
		local = strings.ToUpper(local)
	}
	return local + "@" + pick(r, hosts)
}

func phone(r *rand.Rand) any {
	n := 1_000_000 + r.IntN(8_999_999)
	switch r.IntN(8) {
	case 0:
		return nil
	case 1:
		return ""
	case 2:
		return fmt.Sprintf("+49 (0)89 %d", n)
	case 3:
		return fmt.Sprintf("0049-89-%d", n)
	case 4:
		return fmt.Sprintf("089/%d", n)
	case 5:
		return fmt.Sprintf("089.%d ext. %d", n, r.IntN(99))
	}
	return fmt.Sprintf("+4989%d", n)
}

func text(r *rand.Rand, n int) string {
	var b strings.Builder
	for b.Len() < n {
		b.WriteString(pick(r, words))
		b.WriteByte(' ')
	}
	return strings.TrimSpace(b.String())
}

// noteBody is now and then long enough to be stored out of line (TOAST), even compressed.
func noteBody(r *rand.Rand) string {
	if r.IntN(4) > 0 {
		return text(r, 20+r.IntN(300))
	}
	return text(r, 9_000+r.IntN(4_000))
}

func nullable(r *rand.Rand, v any) any {
	if r.IntN(6) == 0 {
		return nil
	}
	return v
}
