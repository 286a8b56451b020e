"""Proves that the check can fail: each slip below is made in templates that are right, and must be reported.

python infra/check.d/selftest.py <folder with the official types>
"""

from __future__ import annotations

import pathlib
import sys
import tempfile
import unittest

from project import check
from azure import Types

MAIN = """
targetScope = 'resourceGroup'

@description('A name; it isn\\'t long.')
@minLength(3)
param name string
param location string = resourceGroup().location
param count int = 1
@allowed(['Hot', 'Cool'])
param tier string = 'Hot'
@secure()
param key string = ''
param watch bool = true

var roles = loadJsonContent('roles.json')
var rules = [
  { name: 'one', severity: 2 }
  { name: 'two', severity: 3 }
]
var more = watch ? { allowSharedKeyAccess: false } : {}

resource account 'Microsoft.Storage/storageAccounts@2023-05-01' = {
  name: take('${name}${uniqueString(resourceGroup().id)}', 24)
  location: location
  kind: 'StorageV2'
  sku: { name: 'Standard_ZRS' }
  properties: union(more, {
    accessTier: tier
    minimumTlsVersion: 'TLS1_2'
    networkAcls: { bypass: 'AzureServices', defaultAction: 'Allow' }
  })
}

resource blobs 'Microsoft.Storage/storageAccounts/blobServices@2023-05-01' = {
  parent: account
  name: 'default'
  properties: { deleteRetentionPolicy: { enabled: true, days: 7 } }

  resource container 'containers' = {
    name: 'things'
  }
}

resource grant 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for role in ['Reader', 'Writer']: {
    scope: account
    name: guid(account.id, role)
    properties: {
      principalId: part.outputs.principalId
      principalType: 'ServicePrincipal'
      roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles[role])
    }
  }
]

module part 'part.bicep' = if (watch) {
  params: {
    appName: name
    size: count
    password: key
  }
  dependsOn: [
    account
  ]
}

resource rule 'Microsoft.Insights/scheduledQueryRules@2023-12-01' = [
  for (entry, i) in rules: if (watch) {
    name: '${entry.name}-${i}'
    location: location
    properties: {
      severity: entry.severity
      scopes: [account.id]
      criteria: {
        allOf: [
          {
            query: loadTextContent('query.kql')
            timeAggregation: 'Count'
            operator: 'GreaterThan'
            dimensions: map(['RunId'], column => { name: column, operator: 'Include', values: ['*'] })
          }
        ]
      }
    }
  }
]

output endpoint string = account.properties.primaryEndpoints.blob
output containerId string = blobs::container.id
output host string = part!.outputs.host
"""

PART = """
param appName string
param size int
@secure()
param password string
param note string = 'none'

resource identity 'Microsoft.ManagedIdentity/userAssignedIdentities@2023-01-31' existing = {
  name: 'me'
}

resource app 'Microsoft.Web/sites@2024-04-01' existing = {
  name: appName

  resource ingest 'functions' existing = {
    name: 'Ingest'
  }
}

resource settings 'Microsoft.Web/sites/config@2024-04-01' = {
  parent: app
  name: 'appsettings'
  properties: { SIZE: string(size), PASSWORD: password, NOTE: note, KEY: app::ingest.listKeys().default }
}

output principalId string = identity.properties.principalId
output host string = app.properties.defaultHostName
"""

PARAMETERS = """
using 'main.bicep'

param name = readEnvironmentVariable('NAME', 'things')
param count = 2
// param watch = false
"""

FILES = {
    "main.bicep": MAIN,
    "part.bicep": PART,
    "main.bicepparam": PARAMETERS,
    "roles.json": '{ "Reader": "1", "Writer": "2" }',
    "query.kql": "T",
}

# What is tried: the file, what stands there, what is put in its place, and what must be said of it.
SLIPS = {
    "misspelt property": ("main.bicep", "accessTier:", "acessTier:", "no such property (did you mean 'accessTier'?)"),
    "misspelt property in a branch": ("main.bicep", "allowSharedKey", "allowShareKey", "allowShareKeyAccess: no such property"),
    "misspelt property of an alert": ("main.bicep", "timeAggregation:", "timeAggregate:", "no such property"),
    "misspelt property in a function": ("main.bicep", "column, operator:", "column, operatr:", "dimensions[].operatr: no such property"),
    "missing property": ("main.bicep", "bypass: 'AzureServices', defaultAction: 'Allow'", "bypass: 'None'", "defaultAction is missing"),
    "missing property of a nested resource": ("main.bicep", "name: 'things'", "", "name is missing"),
    "read-only property": ("main.bicep", "accessTier: tier", "primaryLocation: 'x'", "cannot be set"),
    "value outside a closed set": ("main.bicep", "defaultAction: 'Allow'", "defaultAction: 'Alow'", "'Alow' is not allowed (did you mean 'Allow'?)"),
    "value outside an open set": ("main.bicep", "'StorageV2'", "'StorageV3'", "'StorageV3' is not known"),
    "value of a parameter outside the set": ("main.bicep", "['Hot', 'Cool']", "['Hot', 'Warm']", "'Warm' is not allowed"),
    "text for a number": ("main.bicep", "days: 7", "days: '7'", "int expected, string given"),
    "number for a bool": ("main.bicep", "enabled: true", "enabled: 1", "bool expected, int given"),
    "text for an array": ("main.bicep", "scopes: [account.id]", "scopes: account.id", "array expected, string given"),
    "wrong kind through a variable": ("main.bicep", "severity: 3", "severity: 'high'", "int expected, string given"),
    "too long a value": ("main.bicep", "take('${name}${uniqueString(resourceGroup().id)}', 24)", "'account-of-this-project-1'", "characters"),
    "unknown resource type": ("main.bicep", "storageAccounts/blobServices@", "storageAccounts/blobService@", "there is no resource type"),
    "unknown API version": ("main.bicep", "roleAssignments@2022-04-01", "roleAssignments@2022-04-02", "no API version 2022-04-02"),
    "type that is not at hand": ("main.bicep", "Rules@2023-12-01", "Rules@2022-06-15", "its type is not at hand"),
    "wrong variant": ("part.bicep", "'appsettings'", "'appsetings'", "(did you mean 'appsettings'?)"),
    "wrong parent": ("part.bicep", "parent: app", "parent: identity", "the parent of Microsoft.Web/sites/config cannot be"),
    "not onto a resource": ("main.bicep", "parent: account\n  name: 'default'", "name: 'a/default'\n  scope: account", "cannot be put onto"),
    "unknown output of a module": ("main.bicep", "outputs.host", "outputs.hots", "has no property hots (did you mean 'host'?)"),
    "unknown property of a resource": ("part.bicep", "defaultHostName", "defaultHostname", "has no property defaultHostname"),
    "unknown parameter of a module": ("main.bicep", "size: count", "size: count\n    colour: 'red'", "part.bicep has no parameter colour"),
    "missing parameter of a module": ("part.bicep", "note string = 'none'", "note string", "part.bicep needs the parameter note"),
    "wrong kind for a module": ("main.bicep", "size: count", "size: name", "size: int expected, string given"),
    "missing module": ("main.bicep", "module part 'part.bicep'", "module part 'parts.bicep'", "there is no file parts.bicep"),
    "unknown property of a module": ("main.bicep", "params: {", "parameters: {}\n  params: {", "a module has no property parameters"),
    "unknown function of a resource": ("part.bicep", "ingest.listKeys()", "ingest.listKeis()", "has no function listKeis"),
    "property that one of several does not have": ("main.bicep", "'two', severity: 3", "'two', severty: 3", "has no property severity"),
    "undeclared name": ("main.bicep", "appName: name", "appName: nane", "nane is not declared (did you mean 'name'?)"),
    "undeclared name in a text": ("main.bicep", "${entry.name}-${i}", "${entry.name}-${j}", "j is not declared"),
    "unknown function": ("main.bicep", "take('${name}", "tke('${name}", "tke is no function (did you mean 'take'?)"),
    "too few arguments": ("main.bicep", "guid(account.id, role)", "guid()", "guid does not take 0 arguments"),
    "wrong argument": ("part.bicep", "string(size)", "toLower(size)", "argument 1 of toLower must be string, not int"),
    "unknown property of a function's object": ("main.bicep", "resourceGroup().location", "resourceGroup().loc", "has no property loc"),
    "unknown nested resource": ("main.bicep", "blobs::container.id", "blobs::containers.id", "there is no resource containers inside"),
    "unused parameter": ("main.bicep", "param watch", "param unused string = ''\nparam watch", "param unused is not used"),
    "unused variable": ("main.bicep", "var more", "var unused = 1\nvar more", "var unused is not used"),
    "unused existing resource": ("part.bicep", "identity.properties.principalId", "'x'", "existing resource identity is not used"),
    "loop where none may stand": ("main.bicep", "false } : {}", "false, x: [for r in rules: r] } : {}", "a loop cannot stand here"),
    "declared twice": ("main.bicep", "var more", "var rules = 1\nvar more", "is declared before"),
    "set twice": ("main.bicep", "kind: 'StorageV2'", "kind: 'StorageV2'\n  kind: 'StorageV2'", "kind is set before"),
    "circle": ("main.bicep", "name: 'one'", "name: string(rules)", "a circle: rules → rules"),
    "known too late": ("main.bicep", "guid(account.id, role)", "guid(account.id, role, part.outputs.host)", "must be known at the start"),
    "condition that is none": ("main.bicep", "if (watch) {\n  params", "if (name) {\n  params", "a condition must be bool, not string"),
    "limit of the wrong kind": ("main.bicep", "@minLength(3)", "@minValue(3)", "@minValue does not fit name"),
    "default outside the set": ("main.bicep", "tier string = 'Hot'", "tier string = 'Cold'", "default of tier: 'Cold' is not allowed"),
    "output of another kind": ("main.bicep", "output host string", "output host int", "output host: int expected, string given"),
    "missing file": ("main.bicep", "'query.kql'", "'queries.kql'", "there is no file queries.kql"),
    "key that a file does not have": ("main.bicep", "['Reader', 'Writer']", "['Reader', 'Righter']", "roles.json has no property Righter"),
    "dependsOn something else": ("main.bicep", "    account\n  ]", "    name\n  ]", "dependsOn names resources and modules only"),
    "parameter file: unknown name": ("main.bicepparam", "param count", "param cout", "main.bicep has no parameter cout (did you mean 'count'?)"),
    "parameter file: missing value": ("main.bicepparam", "param name =", "// param name =", "main.bicep needs the parameter name"),
    "parameter file: wrong kind": ("main.bicepparam", "param count = 2", "param count = '2'", "count: int expected, string given"),
    "parameter file: too short": ("main.bicepparam", "readEnvironmentVariable('NAME', 'things')", "'ab'", "'ab' must have 3 to"),
    "properties without a line end": ("main.bicep", "sku: { name: 'Standard_ZRS' }\n", "sku: { name: 'Standard_ZRS' } ", "a line end or a comma expected"),
    "text that is not closed": ("main.bicep", "'StorageV2'", "'StorageV2", "a string is not closed"),
    "brace that is not closed": ("part.bicep", "  name: 'me'\n}", "  name: 'me'\n", "found"),
}  # fmt: skip


class SelfTest(unittest.TestCase):
    types: Types

    def findings(self, files: dict[str, str]) -> list[str]:
        with tempfile.TemporaryDirectory() as made:
            folder = pathlib.Path(made).resolve()
            for name, text in files.items():
                (folder / name).write_text(text)
            project = check(self.types, folder, [folder / "main.bicepparam", folder / "main.bicep"])
        return [f"{path}:{line}: {message}" for path, line, message in sorted(project.findings)]

    def test_what_is_right_passes(self):
        self.assertEqual(self.findings(FILES), [])

    def test_every_slip_is_reported(self):
        for slip, (file, old, new, expected) in SLIPS.items():
            with self.subTest(slip):
                self.assertEqual(FILES[file].count(old), 1, f"{old} must stand in {file} once")
                found = self.findings(FILES | {file: FILES[file].replace(old, new)})
                self.assertTrue(any(expected in finding for finding in found), found or "nothing was reported")


if __name__ == "__main__":
    SelfTest.types = Types(pathlib.Path(sys.argv.pop(1)))
    unittest.main()
