# make test runs everything that a change must pass; the other targets are its parts, but for bench.

STATICCHECK = honnef.co/go/tools/cmd/staticcheck@v0.8.2
FUZZTIME    = 20000x
SOAK        = 60s

# Modules: those besides this directory's are for what most programs shall not depend on.
MODULES = . metrics tracing bench
EACH    = @set -e; for m in $(MODULES); do echo "$$m:"

.PHONY: test fmt vet staticcheck vuln race gobench bench fuzz soak js browser

test: fmt vet staticcheck vuln js race browser gobench fuzz soak

# Fails when gofmt would change a file.
fmt:
	@out=$$(find . -name node_modules -prune -o -name '*.go' -exec gofmt -l {} +); \
	if [ -n "$$out" ]; then echo "gofmt -w these:"; echo "$$out"; exit 1; fi

# protocol.go is to be understood, and used, by itself.
vet:
	$(EACH); go -C $$m vet ./...; done
	go vet protocol.go

staticcheck:
	$(EACH); go -C $$m run $(STATICCHECK) ./...; done

# Known vulnerabilities in what is called. Says so, and does not fail, where their database cannot be reached.
vuln:
	$(EACH); (cd $$m && $(CURDIR)/.ci/vuln); done

race:
	$(EACH); go -C $$m test -race ./...; done

# Once each, so that they cannot rot.
gobench:
	$(EACH); go -C $$m test -run '^$$' -bench . -benchtime 1x ./...; done

# Compares with other libraries and prints a table: see bench/README.md. Takes less than ten minutes, and with BENCH=-quick
# less than one.
bench:
	go -C bench run . $(BENCH)

# Each fuzz target that there is, for FUZZTIME: a number of inputs (20000x), as the go command sometimes takes the end of a
# given time for a failure, or a time (10m).
fuzz:
	@set -e; found=0; \
	for pkg in $$(go list -f '{{if or .TestGoFiles .XTestGoFiles}}{{.ImportPath}}{{end}}' ./...); do \
		names=$$(go test -list '^Fuzz' $$pkg); \
		for name in $$(echo "$$names" | grep '^Fuzz' || true); do \
			found=$$((found + 1)); \
			echo "fuzz $$name"; \
			go test -run '^$$' -fuzz "^$$name$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 10x $$pkg; \
		done; \
	done; \
	[ $$found -gt 0 ] || { echo "no fuzz target found"; exit 1; }

# 200 connections that do all there is to do, for SOAK, through a proxy that does to them what networks do: no answer may be
# wrong, lost or late, and nothing left behind. With RACE=-race under the race detector.
soak:
	go run $(RACE) ./internal/soak -for $(SOAK)

# js/dist must be what the sources build to; npm test checks that first.
js:
	cd js && npm ci && npm test

# The served script and the chat in a real Chromium, against a real server.
browser:
	cd js/browser && npm ci && npm test
