module github.com/gotalk-go/gotalk

go 1.25

ignore (
	./js/browser/node_modules
	./js/node_modules
)

require (
	github.com/gorilla/websocket v1.5.3
	github.com/stretchr/testify v1.12.1
)

require go.yaml.in/yaml/v3 v3.0.5 // indirect
