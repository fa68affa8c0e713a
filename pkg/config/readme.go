package config

import "fmt"

// Row is the setting as a row of the README's table: variable, flag, default, meaning.
func (s Setting) Row() string {
	variable := "`" + s.Variable + "`"
	if s.Secret {
		variable += " (or `_FILE`)"
	}
	return fmt.Sprintf("| %s | %s | %s | %s |", variable, code("--", s.Flag), code("", s.Default), s.Help)
}

func code(prefix, s string) string {
	if s == "" {
		return ""
	}
	return "`" + prefix + s + "`"
}
