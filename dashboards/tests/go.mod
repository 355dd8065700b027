// A module of its own, so that Onward itself does not depend on what these tests need.
module onward/dashboards/tests

go 1.26.0

require (
	github.com/grafana/grafana-foundation-sdk/go v0.0.12
	github.com/stretchr/testify v1.12.1
	go.yaml.in/yaml/v3 v3.0.5
)
