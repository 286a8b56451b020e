// A role that can look at runs and start one: Data Factory Contributor could rewrite and delete everything.

param factoryName string
@description('Which playbook → its principal id.')
param principals object

resource factory 'Microsoft.DataFactory/factories@2018-06-01' existing = {
  name: factoryName
}

resource runner 'Microsoft.Authorization/roleDefinitions@2022-04-01' = {
  name: guid(resourceGroup().id, 'aiops-rca pipeline runner')
  properties: {
    // Names of roles are unique in the whole tenant.
    roleName: 'aiops-rca pipeline runner (${resourceGroup().name}, ${uniqueString(resourceGroup().id)})'
    description: 'Reads pipeline runs and starts pipelines, for the playbooks of aiops-rca.'
    type: 'CustomRole'
    assignableScopes: [resourceGroup().id]
    permissions: [
      {
        actions: [
          'Microsoft.DataFactory/factories/read'
          'Microsoft.DataFactory/factories/pipelineruns/read'
          'Microsoft.DataFactory/factories/querypipelineruns/read'
          'Microsoft.DataFactory/factories/pipelines/createrun/action'
        ]
      }
    ]
  }
}

resource run 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for principal in items(principals): {
    scope: factory
    name: guid(factory.id, principal.value, runner.id)
    properties: {
      principalId: principal.value
      principalType: 'ServicePrincipal'
      // As Azure itself gives the id out: below the subscription, wherever the role may be assigned.
      roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', runner.name)
    }
  }
]
