{{/* The chart's name. */}}
{{- define "tidemill.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* What the names of all objects begin with. 45 characters leave room for the longest suffix. */}}
{{- define "tidemill.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 45 | trimSuffix "-" }}
{{- else if contains (include "tidemill.name" .) .Release.Name }}
{{- .Release.Name | trunc 45 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "tidemill.name" .) | trunc 45 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{/*
What a component's pods are found by. Takes a dict of root and component. The last label keeps the API of an installation
apart from that of a TaskQueue of the same name, whose pods bear the first three as well.
*/}}
{{- define "tidemill.selectorLabels" -}}
app.kubernetes.io/name: {{ include "tidemill.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
tidemill.dev/installation: {{ .root.Release.Name }}
{{- end }}

{{/* The labels of an object. Takes a dict of root and component. */}}
{{- define "tidemill.labels" -}}
{{ include "tidemill.selectorLabels" . }}
app.kubernetes.io/part-of: tidemill
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name (.root.Chart.Version | replace "+" "_") }}
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* The labels of a pod: none that changes with the chart's version, which would roll the pods. Takes a dict of root and component. */}}
{{- define "tidemill.podLabels" -}}
{{ include "tidemill.selectorLabels" . }}
app.kubernetes.io/part-of: tidemill
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* An image's full name. Takes a dict of image and tag, which counts where the image has neither tag nor digest. */}}
{{- define "tidemill.imageName" -}}
{{- $image := .image -}}
{{- $name := $image.repository -}}
{{- with $image.registry }}{{ $name = printf "%s/%s" . $name }}{{ end -}}
{{- if $image.digest -}}
{{- if $image.tag }}{{ $name = printf "%s:%s" $name $image.tag }}{{ end -}}
{{- printf "%s@%s" $name $image.digest -}}
{{- else -}}
{{- printf "%s:%s" $name (default .tag $image.tag) -}}
{{- end -}}
{{- end }}

{{/* Tidemill's image. */}}
{{- define "tidemill.image" -}}
{{- include "tidemill.imageName" (dict "image" .Values.image "tag" .Chart.AppVersion) }}
{{- end }}

{{/* The name of a component's ServiceAccount. Takes a dict of root and component. */}}
{{- define "tidemill.serviceAccountName" -}}
{{- $account := (index .root.Values .component).serviceAccount -}}
{{- if $account.create -}}
{{- default (printf "%s-%s" (include "tidemill.fullname" .root) .component) $account.name -}}
{{- else -}}
{{- required (printf "%s.serviceAccount.name: name the ServiceAccount to use, or leave %s.serviceAccount.create on" .component .component) $account.name -}}
{{- end -}}
{{- end }}

{{/* Where the chart's own TaskQueues are: where the operator looks. */}}
{{- define "tidemill.queueNamespace" -}}
{{- default .Release.Namespace .Values.operator.watchNamespace }}
{{- end }}

{{/* The namespaces that the installation's broker is offered to, as a JSON list. */}}
{{- define "tidemill.offeredNamespaces" -}}
{{- default (list (include "tidemill.queueNamespace" .)) .Values.broker.allowedNamespaces | uniq | sortAlpha | toJson }}
{{- end }}

{{/* Whether the installation has a broker: "true" or nothing. */}}
{{- define "tidemill.hasBroker" -}}
{{- if or .Values.valkey.enabled .Values.broker.url .Values.broker.existingSecret }}true{{ end }}
{{- end }}

{{/* The Secret of bearer tokens. */}}
{{- define "tidemill.authSecret" -}}
{{- default (printf "%s-auth" (include "tidemill.fullname" .)) .Values.auth.existingSecret }}
{{- end }}

{{/* The Secret of the built-in broker's password. */}}
{{- define "tidemill.valkeySecret" -}}
{{- default (printf "%s-valkey" (include "tidemill.fullname" .)) .Values.valkey.existingSecret }}
{{- end }}

{{/* The environment that tells a process where the installation's broker is. */}}
{{- define "tidemill.brokerEnv" -}}
{{- if .Values.valkey.enabled }}
- name: TIDEMILL_BROKER__URL
  value: {{ printf "redis://%s-valkey.%s.svc:6379" (include "tidemill.fullname" .) .Release.Namespace }}
- name: TIDEMILL_BROKER__PASSWORD
  valueFrom: {secretKeyRef: {name: {{ include "tidemill.valkeySecret" . }}, key: password}}
{{- else if include "tidemill.hasBroker" . }}
- name: TIDEMILL_BROKER__URL
  valueFrom: {secretKeyRef: {name: {{ empty .Values.broker.url | ternary .Values.broker.existingSecret (printf "%s-broker" (include "tidemill.fullname" .)) }}, key: url}}
{{- with .Values.broker.existingSecret }}
- name: TIDEMILL_BROKER__USERNAME
  valueFrom: {secretKeyRef: {name: {{ . }}, key: username, optional: true}}
- name: TIDEMILL_BROKER__PASSWORD
  valueFrom: {secretKeyRef: {name: {{ . }}, key: password, optional: true}}
{{- end }}
{{- with .Values.broker.replicas }}
- name: TIDEMILL_DURABILITY__REPLICAS
  value: {{ . | quote }}
{{- end }}
{{- if .Values.broker.customCA }}
- name: TIDEMILL_BROKER__CA_FILE
  value: /run/secrets/tidemill-broker/ca.crt
{{- end }}
{{- end }}
{{- end }}

{{/* The volume of the broker's certificate authorities, where it has its own. */}}
{{- define "tidemill.brokerVolumes" -}}
{{- if and (not .Values.valkey.enabled) .Values.broker.customCA }}
- name: broker-ca
  secret:
    secretName: {{ .Values.broker.existingSecret }}
    items: [{key: ca.crt, path: ca.crt}]
{{- end }}
{{- end }}

{{/* Where that volume is mounted. */}}
{{- define "tidemill.brokerMounts" -}}
{{- if and (not .Values.valkey.enabled) .Values.broker.customCA }}
- {name: broker-ca, mountPath: /run/secrets/tidemill-broker, readOnly: true}
{{- end }}
{{- end }}

{{/* What a pod's spec says of where it runs. Takes a dict of root and component. */}}
{{- define "tidemill.scheduling" -}}
{{- $pod := index .root.Values .component }}
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $pod.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with $pod.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $pod.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $pod.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* How a component's replicas spread. Takes a dict of root and component. Without constraints of one's own: over nodes and zones, where it can be. */}}
{{- define "tidemill.spread" -}}
topologySpreadConstraints:
{{- with (index .root.Values .component).topologySpreadConstraints }}
  {{- toYaml . | nindent 2 }}
{{- else }}
  {{- range list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
  - maxSkew: 1
    topologyKey: {{ . }}
    whenUnsatisfiable: ScheduleAnyway
    matchLabelKeys: [pod-template-hash]
    labelSelector:
      matchLabels:
        {{- include "tidemill.selectorLabels" $ | nindent 8 }}
  {{- end }}
{{- end }}
{{- end }}

{{/* Peers of a NetworkPolicy: those given, else anyone. */}}
{{- define "tidemill.from" -}}
{{- with . }}
from:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* What no schema can judge. */}}
{{- define "tidemill.validate" -}}
{{- $values := .Values -}}
{{- if and $values.valkey.enabled (or $values.broker.url $values.broker.existingSecret) -}}
{{- fail "broker.url or broker.existingSecret names a broker of your own: set valkey.enabled=false as well, so that there is no doubt which one holds the tasks" -}}
{{- end -}}
{{- if and $values.api.enabled (not (include "tidemill.hasBroker" .)) -}}
{{- fail "the API needs a broker: set broker.url or broker.existingSecret, or valkey.enabled=true for the built-in one, or api.enabled=false where each TaskQueue brings its own" -}}
{{- end -}}
{{- if and $values.broker.customCA (not $values.broker.existingSecret) -}}
{{- fail "broker.customCA: the certificate authorities are read from the key ca.crt of broker.existingSecret, which is not set" -}}
{{- end -}}
{{- if and $values.taskQueues (not $values.queueJobs.enabled) -}}
{{- fail "taskQueues: a job applies them, and queueJobs.enabled is off" -}}
{{- end -}}
{{- if and $values.monitor.enabled (eq $values.monitor.kind "ServiceMonitor") $values.api.enabled (ne $values.api.service.type "ClusterIP") -}}
{{- fail "monitor.kind: a Service that is open to the world does not show the metrics; use PodMonitor, or api.service.type=ClusterIP" -}}
{{- end -}}
{{- if and $values.operator.watchNamespace (not $values.operator.cluster) -}}
{{- fail "operator.cluster: an operator of one namespace may not read the cluster's identity; give it a name that no other cluster on the same broker has, such as the output of: kubectl get namespace kube-system -o jsonpath={.metadata.uid}" -}}
{{- end -}}
{{- end }}
