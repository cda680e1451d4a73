{{/* Whether the release has TaskQueues to apply, or may have had: "true" or nothing. */}}
{{- define "tidemill.appliesQueues" -}}
{{- if and .Values.queueJobs.enabled (or .Values.taskQueues .Release.IsUpgrade) }}true{{ end }}
{{- end }}

{{/* The pod of a job that does something with the chart's own TaskQueues. Takes a dict of root, do (the command), more (its further arguments) and, where it reads the TaskQueues, file. */}}
{{- define "tidemill.queueJob" -}}
{{- $root := .root -}}
metadata:
  labels:
    {{- include "tidemill.podLabels" (dict "root" $root "component" "queues") | nindent 4 }}
spec:
  restartPolicy: Never
  serviceAccountName: {{ include "tidemill.fullname" $root }}-queues
  automountServiceAccountToken: true
  enableServiceLinks: false
  securityContext:
    {{- toYaml $root.Values.podSecurityContext | nindent 4 }}
  {{- with include "tidemill.scheduling" (dict "root" $root "component" "operator") | trim }}{{ . | nindent 2 }}{{ end }}
  containers:
    - name: {{ .do }}
      image: {{ include "tidemill.image" $root }}
      imagePullPolicy: {{ $root.Values.image.pullPolicy }}
      args:
        - operator
        - {{ .do }}
        - --namespace
        - {{ include "tidemill.queueNamespace" $root }}
        - --selector
        - tidemill.dev/installation={{ $root.Release.Name }}
        {{- range .more }}
        - {{ . | quote }}
        {{- end }}
      securityContext:
        {{- toYaml $root.Values.securityContext | nindent 8 }}
      resources:
        {{- toYaml $root.Values.queueJobs.resources | nindent 8 }}
      volumeMounts:
        - {name: data, mountPath: /data}
        {{- if .file }}
        - {name: queues, mountPath: /etc/tidemill, readOnly: true}
        {{- end }}
  volumes:
    - name: data
      emptyDir: {sizeLimit: 64Mi}
    {{- if .file }}
    - name: queues
      configMap: {name: {{ include "tidemill.fullname" $root }}-queues}
    {{- end }}
{{- end }}
