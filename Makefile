# make test runs everything that a change must pass; the other targets are its parts.

STATICCHECK = honnef.co/go/tools/cmd/staticcheck@v0.8.2
FUZZTIME    = 5s

.PHONY: test fmt vet staticcheck race bench fuzz js browser

test: fmt vet staticcheck js race browser bench fuzz

# Fails when gofmt would change a file.
fmt:
	@out=$$(find . -name node_modules -prune -o -name '*.go' -exec gofmt -l {} +); \
	if [ -n "$$out" ]; then echo "gofmt -w these:"; echo "$$out"; exit 1; fi

# protocol.go is to be understood, and used, by itself.
vet:
	go vet ./...
	go vet protocol.go

staticcheck:
	go run $(STATICCHECK) ./...

race:
	go test -race ./...

# Once each, so that they cannot rot.
bench:
	go test -run '^$$' -bench . -benchtime 1x ./...

# Each fuzz target that there is, for FUZZTIME.
fuzz:
	@set -e; found=0; \
	for pkg in $$(go list -f '{{if or .TestGoFiles .XTestGoFiles}}{{.ImportPath}}{{end}}' ./...); do \
		names=$$(go test -list '^Fuzz' $$pkg); \
		for name in $$(echo "$$names" | grep '^Fuzz' || true); do \
			found=$$((found + 1)); \
			echo "fuzz $$name"; \
			go test -run '^$$' -fuzz "^$$name$$" -fuzztime $(FUZZTIME) $$pkg; \
		done; \
	done; \
	[ $$found -gt 0 ] || { echo "no fuzz target found"; exit 1; }

# js/dist must be what the sources build to; npm test checks that first.
js:
	cd js && npm ci && npm test

# The served script and the chat in a real Chromium, against a real server.
browser:
	cd js/browser && npm ci && npm test
