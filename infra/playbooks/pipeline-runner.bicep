// A role that can look at runs and start one: Data Factory Contributor could rewrite and delete everything.

param factoryName string

@description('Whose role this is: the function app\'s name, in the names of everything made here.')
param owner string

@description('Which playbook → its principal id.')
param principals object

@description('Id of a role with the operations below that exists already; empty: one is made.')
param roleId string

resource factory 'Microsoft.DataFactory/factories@2018-06-01' existing = {
  name: factoryName
}

// A query is an action, and the read beside it is enforced as well.
// Every operation has its call (tests/it/evidence/rights.rs).
resource runner 'Microsoft.Authorization/roleDefinitions@2022-04-01' = if (empty(roleId)) {
  name: guid(factory.id, owner, 'pipeline runner')
  properties: {
    // Names of roles are unique in the whole tenant.
    roleName: 'aiops-rca pipeline runner (${owner}, ${uniqueString(factory.id)})'
    description: 'Reads pipeline runs and starts pipelines, for the playbooks of aiops-rca.'
    type: 'CustomRole'
    assignableScopes: [resourceGroup().id]
    permissions: [
      {
        actions: [
          'Microsoft.DataFactory/factories/pipelineruns/read'
          'Microsoft.DataFactory/factories/querypipelineruns/read'
          'Microsoft.DataFactory/factories/querypipelineruns/action'
          'Microsoft.DataFactory/factories/pipelines/createrun/action'
        ]
      }
    ]
  }
}

var runRole = empty(roleId) ? runner.name : last(split(roleId, '/'))

resource run 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for principal in items(principals): {
    scope: factory
    name: guid(factory.id, principal.value, runRole)
    properties: {
      principalId: principal.value
      principalType: 'ServicePrincipal'
      // As Azure itself gives the id out: below the subscription, wherever the role may be assigned.
      roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', runRole)
    }
  }
]
