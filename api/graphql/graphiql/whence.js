"use strict";

const WELCOME = `# What broke, how sure are we, and why? Press Ctrl-Enter.
# Left: documentation, history, explorer.

query WhatBroke {
  diagnosis(first: 5) {
    at
    exact
    rootCauses {
      entity
      defect
      probability
      onset
      summary
      explains { entity condition }
      evidence { observed weight }
      remedies { action effect risk }
    }
  }
  status { at entities relations openIncidents ready }
}

# All that calls, is called by, or carries an entity:
query Around($root: ID = "service:my-cluster/my-namespace/my-service") {
  topology(root: $root, depth: 2) {
    entities { id kind }
    relations { source kind target statistics { requestRate errorRatio meanDurationSeconds } }
    truncated
  }
}

# Each new diagnosis as it is made:
subscription Watch {
  diagnoses(first: 3) { at rootCauses { entity defect probability } }
}
`;

const socket = new URL("/graphql", window.location.href);
socket.protocol = socket.protocol === "https:" ? "wss:" : "ws:";
const fetcher = GraphiQL.createFetcher({
  url: "/graphql",
  wsClient: graphqlWs.createClient({ url: socket.href, lazy: true }),
});

function Page() {
  const [query, setQuery] = React.useState(WELCOME);
  const explorer = GraphiQLPluginExplorer.useExplorerPlugin({ query, onEdit: setQuery });
  return React.createElement(GraphiQL, {
    fetcher,
    query,
    onEditQuery: setQuery,
    plugins: [explorer],
    isHeadersEditorEnabled: false,
    defaultEditorToolsVisibility: "variables",
  });
}

ReactDOM.render(React.createElement(Page), document.getElementById("graphiql"));
