//go:build tools

// Package tools pins helm and helm-unittest, which scripts/setup builds at the versions of go.mod.
package tools

import (
	_ "github.com/helm-unittest/helm-unittest/cmd/helm-unittest"
	_ "helm.sh/helm/v3/cmd/helm"
)
