package main

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"unicode"
)

var (
	adjectives = strings.Fields("Brave Bright Calm Clever Cosy Curious Daring Eager Fluffy Gentle Happy Honest Jolly Keen " +
		"Kind Lucky Merry Mighty Nimble Patient Playful Polite Proud Quick Quiet Shiny Silly Sunny Swift Wise")
	animals = strings.Fields("Badger Beaver Bison Camel Crane Dolphin Falcon Ferret Fox Gecko Hedgehog Heron Ibex Koala " +
		"Lemur Lynx Marmot Moose Newt Octopus Otter Owl Panda Penguin Puffin Quokka Raven Seal Tapir Wombat")
)

// freeName returns the name that a member would like to have, or a random one, with a number behind it if it is taken.
func (c *chat) freeName(wish string, m *member) string {
	wish = shorten(tidy(wish), maxName)
	if wish == "" {
		wish = randomName()
		for try := 0; try < 10 && c.taken(wish, m); try++ {
			wish = randomName()
		}
	}
	name := wish
	for n := 2; c.taken(name, m); n++ {
		name = fmt.Sprintf("%s %d", shorten(wish, maxName-4), n)
	}
	return name
}

func randomName() string {
	return adjectives[rand.IntN(len(adjectives))] + " " + animals[rand.IntN(len(animals))]
}

// taken tells whether a member other than m has a name, in whatever case.
func (c *chat) taken(name string, m *member) bool {
	for other := range c.members {
		if other != m && other.room != nil && strings.EqualFold(other.name, name) {
			return true
		}
	}
	return false
}

func roomName(s string) string { return strings.ToLower(strings.TrimPrefix(tidy(s), "#")) }

// tidy makes one line of s, without characters that cannot be seen.
func tidy(s string) string { return strings.Join(strings.Fields(visible(s)), " ") }

// tidyText is tidy for a text that may have several lines.
func tidyText(s string) string {
	lines := strings.Split(s, "\n")
	for i, line := range lines {
		lines[i] = strings.TrimRightFunc(visible(line), unicode.IsSpace)
	}
	return strings.Trim(strings.Join(lines, "\n"), "\n")
}

func visible(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case unicode.IsGraphic(r) || r == '\u200d': // the joiner is part of emoji
			return r
		}
		return -1
	}, strings.ToValidUTF8(s, "\ufffd"))
}

func shorten(s string, most int) string {
	if r := []rune(s); len(r) > most {
		return strings.TrimSpace(string(r[:most]))
	}
	return s
}
