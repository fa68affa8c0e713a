package pgsource_test

import "segue/pkg/fault"

func faultClass(err error) string { return fault.ClassOf(err).String() }
