//go:build race

package gotalk_test

const raceDetector = true // which makes stacks and objects larger
