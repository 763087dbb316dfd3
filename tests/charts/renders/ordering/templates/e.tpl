kind: Template
metadata: {name: e}
