package metrics

import (
	"github.com/gotalk-go/gotalk"
	"github.com/prometheus/client_golang/prometheus"
)

// gauge is a series that StatsCollector makes.
type gauge struct {
	desc  *prometheus.Desc
	value func(*gotalk.Stats) float64
}

type statsCollector struct {
	stats  func() gotalk.Stats
	gauges []gauge
}

// StatsCollector returns a collector for what stats returns, which is the method Stats of a gotalk.Server, a
// gotalk.WebSocketServer or a gotalk.Sock. It is called at each scrape. labels, which may be nil, tell several collectors
// apart that are registered at one place: all of them need the same names and different values.
func StatsCollector(stats func() gotalk.Stats, labels prometheus.Labels) prometheus.Collector {
	c := &statsCollector{stats: stats}
	add := func(name, help string, value func(*gotalk.Stats) float64) {
		c.gauges = append(c.gauges, gauge{prometheus.NewDesc(name, help, nil, labels), value})
	}
	add("gotalk_connections", "Open connections.",
		func(s *gotalk.Stats) float64 { return float64(s.Connections) })
	add("gotalk_requests_running", "Requests of peers whose handlers are at work.",
		func(s *gotalk.Stats) float64 { return float64(s.RequestsRunning) })
	add("gotalk_requests_waiting", "Requests of peers that wait for their turn.",
		func(s *gotalk.Stats) float64 { return float64(s.RequestsWaiting) })
	add("gotalk_request_oldest_wait_seconds", "How long the request that waits longest has.",
		func(s *gotalk.Stats) float64 { return s.OldestWait.Seconds() })
	add("gotalk_streams_served", "Streams of peers whose handlers are at work.",
		func(s *gotalk.Stats) float64 { return float64(s.StreamsServed) })
	add("gotalk_calls_pending", "Requests and streams of this side without a complete result.",
		func(s *gotalk.Stats) float64 { return float64(s.CallsPending) })
	add("gotalk_pending_bytes", "Bytes received and not yet handled.",
		func(s *gotalk.Stats) float64 { return float64(s.PendingBytes) })
	add("gotalk_unsent_bytes", "Bytes waiting to be written, or being written.",
		func(s *gotalk.Stats) float64 { return float64(s.UnsentBytes) })
	return c
}

// Describe is part of prometheus.Collector.
func (c *statsCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, g := range c.gauges {
		ch <- g.desc
	}
}

// Collect is part of prometheus.Collector.
func (c *statsCollector) Collect(ch chan<- prometheus.Metric) {
	s := c.stats() // once, so that the numbers belong together
	for _, g := range c.gauges {
		ch <- prometheus.MustNewConstMetric(g.desc, prometheus.GaugeValue, g.value(&s))
	}
}
