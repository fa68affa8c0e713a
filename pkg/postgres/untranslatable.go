package postgres

// Untranslatable says that err is the server's word for a text that it has no form for in the encoding that is asked for: a character
// that the encoding lacks, or bytes that are none of it.
func Untranslatable(err error) bool {
	code := SQLState(err)
	return code == "22021" || code == "22P05"
}
