# make demo   everything from nothing to a table of sign-ins
# make test   everything from nothing to "N passed, N failed"
# make bench  the figures; ONLY=P6 for one of them

.PHONY: demo test bench fuzz

demo:
	scripts/packages.sh build
	cargo run --release --quiet --bin signpost -- demo

test:
	scripts/packages.sh build test
	scripts/test.sh

bench:
	scripts/packages.sh build $(if $(filter-out P4,$(ONLY)),,bench)
	cargo run --release --quiet -p bench -- $(if $(ONLY),--only $(ONLY))

fuzz:
	cd fuzz && for target in $$(cargo fuzz list); do RUSTC_BOOTSTRAP=1 cargo fuzz run $$target -- -max_total_time=30 || exit 1; done
