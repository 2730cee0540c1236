package conform

// groups are all checks, in the order in which they run: what others need comes first.
func groups() []group {
	return []group{
		{"handshake", handshakeChecks}, {"requests", requestChecks}, {"requests at once", manyChecks}, {"notifications", noteChecks},
		{"calls back", callChecks}, {"streams", streamChecks}, {"protocol errors", errorChecks}, {"heartbeats", heartbeatChecks},
		{"limits", limitChecks}, {"extensions", extensionChecks}, {"cancel and meta", cancelChecks}, {"credit", creditChecks},
		{"goaway", goawayChecks}, {"split", splitChecks}, {"WebSocket", webSocketChecks},
	}
}
