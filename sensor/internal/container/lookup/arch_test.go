package lookup_test

import "runtime"

// goarch is the image's architecture, as images call it.
const goarch = runtime.GOARCH
