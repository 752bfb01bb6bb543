{{/* <release>-voicefork, or the release's own name where it says voicefork already */}}
{{- define "voicefork.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 45 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 45 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 45 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* dict root, component -> its resources' name */}}
{{- define "voicefork.name" -}}
{{- printf "%s-%s" (include "voicefork.fullname" .root) .component -}}
{{- end -}}

{{/* dict root, component */}}
{{- define "voicefork.selector" -}}
app.kubernetes.io/name: {{ default .root.Chart.Name .root.Values.nameOverride }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{/* dict root, component */}}
{{- define "voicefork.labels" -}}
{{ include "voicefork.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* dict root, image: registry/repository:tag, or @digest where one is given */}}
{{- define "voicefork.image" -}}
{{- $registry := default .image.registry .root.Values.global.imageRegistry -}}
{{- $name := ternary (printf "%s/%s" $registry .image.repository) .image.repository (ne $registry "") -}}
{{- if .image.digest -}}
{{- printf "%s@%s" $name .image.digest -}}
{{- else -}}
{{- printf "%s:%s" $name (default .root.Chart.AppVersion .image.tag) -}}
{{- end -}}
{{- end -}}

{{/* dict root, component: metadata of a component's resource */}}
{{- define "voicefork.metadata" -}}
name: {{ include "voicefork.name" . }}
namespace: {{ .root.Release.Namespace }}
labels:
  {{- include "voicefork.labels" . | nindent 2 }}
{{- end -}}

{{/* dict root, component, values, [annotations]: metadata of its pods. Without the chart's version: a
     new chart alone must restart neither Redis nor rtpengine. */}}
{{- define "voicefork.podMetadata" -}}
labels:
  {{- include "voicefork.selector" . | nindent 2 }}
  {{- with .root.Values.commonLabels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
  {{- with .values.podLabels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- $annotations := merge (dict) (default dict .values.podAnnotations) (default dict .annotations) }}
{{- with $annotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* dict root, component, values: what every pod's spec says in the same way */}}
{{- define "voicefork.podSpec" -}}
{{- with .root.Values.global.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
serviceAccountName: {{ include "voicefork.serviceAccount" . }}
automountServiceAccountToken: {{ .values.serviceAccount.automount }}
enableServiceLinks: false
{{- with .values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .values.podSecurityContext }}
securityContext:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- if .values.topologySpread.enabled }}
topologySpreadConstraints:
  {{- range list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
  - maxSkew: 1
    topologyKey: {{ . }}
    whenUnsatisfiable: {{ $.values.topologySpread.whenUnsatisfiable }}
    labelSelector:
      matchLabels:
        {{- include "voicefork.selector" $ | nindent 8 }}
  {{- end }}
{{- end }}
{{- end -}}

{{/* dict root, component, values */}}
{{- define "voicefork.serviceAccount" -}}
{{- if .values.serviceAccount.create -}}
{{- default (include "voicefork.name" .) .values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{/* values of a component: the rest of its container, the same for all */}}
{{- define "voicefork.container" -}}
{{- with .securityContext }}
securityContext:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .resources }}
resources:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* number of pods: left to the autoscaler where there is one */}}
{{- define "voicefork.autoscaled" -}}
{{- if ne .Values.worker.autoscaling.mode "none" -}}true{{- end -}}
{{- end -}}

{{- define "voicefork.redis.host" -}}
{{- if .Values.redis.external.host -}}
{{- .Values.redis.external.host -}}
{{- else -}}
{{- include "voicefork.name" (dict "root" . "component" "redis") -}}
{{- end -}}
{{- end -}}

{{- define "voicefork.redis.port" -}}
{{- if .Values.redis.external.host }}{{ .Values.redis.external.port }}{{ else }}6379{{ end -}}
{{- end -}}

{{- define "voicefork.redis.secret" -}}
{{- default (include "voicefork.name" (dict "root" . "component" "redis")) .Values.redis.existingSecret -}}
{{- end -}}

{{/* environment of whoever speaks to Redis. The password is expanded by the kubelet, not by Helm. */}}
{{- define "voicefork.redis.env" -}}
{{- $scheme := ternary "rediss" "redis" (and (ne .Values.redis.external.host "") .Values.redis.external.tls) -}}
- name: REDIS_PASSWORD
  valueFrom:
    secretKeyRef:
      name: {{ include "voicefork.redis.secret" . }}
      key: {{ .Values.redis.existingSecretKey }}
- name: VOICEFORK_REDIS
  value: {{ printf "%s://:$(REDIS_PASSWORD)@%s:%s/%v" $scheme (include "voicefork.redis.host" .) (include "voicefork.redis.port" .) .Values.redis.database | quote }}
{{- end -}}

{{- define "voicefork.ari.secret" -}}
{{- default (include "voicefork.name" (dict "root" . "component" "ari")) .Values.pbx.ari.existingSecret -}}
{{- end -}}

{{- define "voicefork.ari.url" -}}
{{- if .Values.pbx.ari.url -}}
{{- .Values.pbx.ari.url -}}
{{- else if .Values.asterisk.enabled -}}
http://{{ include "voicefork.name" (dict "root" . "component" "asterisk") }}:8088
{{- else -}}
{{- fail "pbx.ari.url: the HTTP address of your Asterisk (http://asterisk.example:8088); or asterisk.enabled=true for a trial" -}}
{{- end -}}
{{- end -}}

{{- define "voicefork.pbx.sip" -}}
{{- if .Values.pbx.sip -}}
{{- .Values.pbx.sip -}}
{{- else if .Values.asterisk.enabled -}}
{{ include "voicefork.name" (dict "root" . "component" "asterisk") }}:5060
{{- else -}}
{{- fail "pbx.sip: the SIP address of your Asterisk (asterisk.example:5060); or asterisk.enabled=true for a trial" -}}
{{- end -}}
{{- end -}}

{{- define "voicefork.ari.env" -}}
- name: VOICEFORK_ARI_PASSWORD
  valueFrom:
    secretKeyRef:
      name: {{ include "voicefork.ari.secret" . }}
      key: {{ .Values.pbx.ari.existingSecretKey }}
{{- end -}}

{{- define "voicefork.agent.url" -}}
{{- if .Values.worker.agent -}}
{{- .Values.worker.agent -}}
{{- else if .Values.vendor.enabled -}}
grpc://{{ include "voicefork.name" (dict "root" . "component" "vendor") }}:{{ .Values.vendor.port }}
{{- else -}}
{{- fail "worker.agent: the AI of your calls (grpcs://agent.example:443); or vendor.enabled=true for a trial" -}}
{{- end -}}
{{- end -}}

{{/* dict root, component: name of the Secret that cert-manager fills */}}
{{- define "voicefork.certificate" -}}
{{- printf "%s-%s-tls" (include "voicefork.fullname" .root) .component -}}
{{- end -}}

{{/* dict root, component, values: name of the Secret with a component's certificate, if it has one */}}
{{- define "voicefork.tlsSecret" -}}
{{- if .values.tls.existingSecret -}}
{{- .values.tls.existingSecret -}}
{{- else if .root.Values.certificates.enabled -}}
{{- include "voicefork.certificate" . -}}
{{- end -}}
{{- end -}}

{{/* Name of the Secret with the edge's certificate, if it has one: carriers see it, so it is not signed
     by whom the services believe. */}}
{{- define "voicefork.edge.tls" -}}
{{- $tls := .Values.edge.tls -}}
{{- if $tls.existingSecret -}}
{{- $tls.existingSecret -}}
{{- else if $tls.dnsNames -}}
{{- if not $tls.issuerRef -}}
{{- fail "edge.tls.issuerRef: who signs the certificate for edge.tls.dnsNames, as in {name: letsencrypt, kind: ClusterIssuer, group: cert-manager.io}" -}}
{{- end -}}
{{- include "voicefork.certificate" (dict "root" . "component" "edge") -}}
{{- end -}}
{{- end -}}

{{/* Is it put into use without a restart? OpenSIPS 4.0.1 aborts at that (docs/edge.md). */}}
{{- define "voicefork.edge.tls.live" -}}
{{- $config := .Values.edge.config -}}
{{- if and (include "voicefork.edge.tls" .) (ne (toString $config.release) "4.0") (ne (toString $config.tls_reload) "false") -}}
true
{{- end -}}
{{- end -}}

{{/* Is gRPC spoken with certificates? Both sides, or neither. */}}
{{- define "voicefork.mtls" -}}
{{- if .Values.certificates.mtls -}}
{{- $worker := include "voicefork.tlsSecret" (dict "root" . "component" "worker" "values" .Values.worker) -}}
{{- $orchestrator := include "voicefork.tlsSecret" (dict "root" . "component" "orchestrator" "values" .Values.orchestrator) -}}
{{- if and $worker $orchestrator -}}
true
{{- else if or $worker $orchestrator -}}
{{- fail "worker.tls.existingSecret and orchestrator.tls.existingSecret: mTLS wants a certificate for both; or certificates.mtls=false" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Settings of both services: what gRPC shows, whom it trusts, and the names that stand in the
     certificates of those who are dialled by a pod's address. */}}
{{- define "voicefork.grpc.settings" -}}
grpc_cert: /etc/voicefork/tls/tls.crt
grpc_key: /etc/voicefork/tls/tls.key
grpc_ca: /etc/voicefork/tls/ca.crt
grpc_worker_name: {{ include "voicefork.name" (dict "root" . "component" "worker") }}
grpc_orchestrator_name: {{ include "voicefork.name" (dict "root" . "component" "orchestrator") }}
{{- end -}}

{{/* Name of the Secret of whoever calls us with mTLS and is none of the services. */}}
{{- define "voicefork.clientSecret" -}}
{{- if .Values.tests.tls.existingSecret -}}
{{- .Values.tests.tls.existingSecret -}}
{{- else if .Values.certificates.enabled -}}
{{- include "voicefork.certificate" (dict "root" . "component" "client") -}}
{{- else -}}
{{- .Values.orchestrator.tls.existingSecret -}}
{{- end -}}
{{- end -}}

{{/* Slots of ARI's applications: one more than replicas, as the new one of a rollout wants one beside
     the old ones. Asterisk's VOICEFORK_SLOTS has to be the same. */}}
{{- define "voicefork.slots" -}}
{{- default (max 4 (add .Values.orchestrator.replicas 1)) .Values.orchestrator.config.slots -}}
{{- end -}}
