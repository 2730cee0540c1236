//go:build !race

package gotalk_test

const raceDetector = false
