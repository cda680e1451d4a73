{{/*
What the operator may do where its TaskQueues are: every verb is one that it uses. It writes by server-side apply, which is
`patch`, and `create` where the object is not there yet. Secrets are only ever got by name.
*/}}
{{- define "tidemill.operator.rules" -}}
- apiGroups: [tidemill.dev]
  resources: [taskqueues]
  verbs: [get, list, watch, patch]
# An owner reference that blocks the owner's deletion needs it, where the API server checks that.
- apiGroups: [tidemill.dev]
  resources: [taskqueues/finalizers]
  verbs: [update]
- apiGroups: [tidemill.dev]
  resources: [taskqueues/status]
  verbs: [patch]
- apiGroups: [apps]
  resources: [deployments]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [services, serviceaccounts, configmaps]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create, patch]
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [monitoring.coreos.com]
  resources: [podmonitors]
  verbs: [get, list, watch, create, patch]
# Which worker pods are idle is written on them, so that scaling in takes those first.
- apiGroups: [""]
  resources: [pods]
  verbs: [list, patch]
- apiGroups: [""]
  resources: [secrets]
  verbs: [get]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end }}

{{/* What it may do in the namespaces that the installation's broker is offered to: keep a copy of the access to it. */}}
{{- define "tidemill.operator.brokerRules" -}}
- apiGroups: [""]
  resources: [secrets]
  verbs: [create, patch, delete]
{{- end }}
